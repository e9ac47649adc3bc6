"""Why a search holds a design for good: figures against limits, rivals, costs, origin, outlook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.goal import COSTS
from edgetran_host.cosearch.history import Entry
from edgetran_host.cosearch.joint_draws import draw_together
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.outputs import OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.readable import summary
from edgetran_host.cosearch.sensitivity import Sensitivity, Spread, sensitivities, spread_of
from edgetran_host.cosearch.standing import outcome_of, sources_of, value_of
from edgetran_host.cosearch.views.differences import design_words, differences, nearest
from edgetran_host.cosearch.views.layer_costs import LayerCosts, layer_costs
from edgetran_host.cosearch.views.one_step import Step, one_step
from edgetran_host.cosearch.views.searched import Searched

NAMES = ("score", *COSTS)
DRAWS = 1000
ON_FRONT = 3  # rivals of each kind
NEAR = 3
SEED = 0  # what is told of one search is told alike each time


@dataclass(frozen=True)
class Figure:
    """One figure of the pair; None: not known."""

    name: str  # of NAMES
    seen: float | None  # mean of its evaluations, of a cost the geometric one
    evaluations: int
    source: str
    interval: Spread | None  # of one evaluation, as it was measured or foretold
    believed: Spread | None  # by the models, from all trials
    foretold: Spread | None  # by the models that have not seen this pair
    limit: float | None

    @property
    def room(self) -> float | None:
        """Share of the limit that is left; negative: it is broken."""
        if self.limit is None or self.seen is None:
            return None
        return 1 - self.seen / self.limit


@dataclass(frozen=True)
class Rival:
    kind: str  # "front" or "near"
    trial: int
    place: str
    differences: str  # from the explained pair
    outcome: Outcome
    value: float | None
    keeps: bool


@dataclass(frozen=True)
class Origin:
    """The nearest earlier trial is found by shared weights: no search remembers a parent."""

    reason: str  # the designer's; empty: it gave none
    turn: int
    parent: int | None  # a trial's number
    differences: str
    training_cost: float


@dataclass(frozen=True)
class Explanation:
    trial: int
    place: str
    summary: str
    layers: tuple[str, ...]
    fidelity: str
    value: float | None
    rank: int | None  # among what keeps the limits; None: it does not
    kept: int  # how many keep them
    on_front: bool
    figures: tuple[Figure, ...]
    rivals: tuple[Rival, ...]
    layer_costs: tuple[LayerCosts, ...]
    origin: Origin
    steps: tuple[Step, ...]
    sensitivity: tuple[Sensitivity, ...]


def explain(searched: Searched, entry: Entry) -> Explanation:
    """Without enough trials for models, what they would say is left out."""
    pair, rng = entry.request.pair, np.random.default_rng(SEED)
    models, product = searched.models(), searched.brief.product
    trials = searched.trials
    place = {one.number: at for at, one in enumerate(searched.ranked, 1)}
    same = next((one for one in searched.ranked if one.request.pair == pair), None)
    return Explanation(
        trial=entry.number,
        place=pair.place.id,
        summary=summary(pair),
        layers=tuple(design_words(pair.architecture)),
        fidelity=entry.request.fidelity,
        value=_value(searched, entry),
        rank=None if same is None else place[same.number],
        kept=len(searched.ranked),
        on_front=any(one.request.pair == pair for one in searched.front),
        figures=tuple(_figures(searched, entry, models, rng)),
        rivals=tuple(_rivals(searched, entry)),
        layer_costs=tuple(layer_costs(pair, trials)),
        origin=_origin(searched, entry),
        steps=tuple(one_step(models, product, pair, rng)) if models else (),
        sensitivity=tuple(sensitivities(models, product, trials, rng)) if models else (),
    )


def _figures(
    searched: Searched, entry: Entry, models: OutputModels | None, rng: np.random.Generator
) -> list[Figure]:
    pair = entry.request.pair
    evaluated = searched.again(pair) or [entry]
    believed = _spreads(models, pair, rng)
    foretold = _spreads(searched.models(without=pair), pair, rng)
    found = []
    for name in NAMES:
        values = [getattr(outcome_of(one), name) for one in evaluated]
        known = [value for value in values if value is not None]
        found.append(
            Figure(
                name=name,
                seen=_mean(name, known),
                evaluations=len(known),
                source=sources_of(evaluated[-1]).get(name, ""),
                interval=_interval(name, evaluated[0]),
                believed=believed.get(name),
                foretold=foretold.get(name),
                limit=None if name == "score" else getattr(searched.brief.goal.limits, name),
            )
        )
    return found


def _interval(name: str, entry: Entry) -> Spread | None:
    """Of a real evaluation; an oracle gives none."""
    assert entry.evaluation is not None
    value, details = getattr(outcome_of(entry), name), entry.evaluation.details
    if name == "score":
        found = details.get("score", {})
        ends = [found.get("low"), found.get("high")]
    else:
        ends = details.get("cost", {}).get(f"{name}_interval") or [None, None]
    if value is None or None in ends:
        return None
    return Spread(value, *ends)


def _spreads(
    models: OutputModels | None, pair: Pair, rng: np.random.Generator
) -> dict[str, Spread]:
    if models is None:
        return {}
    scores, costs = draw_together(models, [pair], DRAWS, rng)
    drawn = dict(zip(NAMES, [scores[:, 0], *costs[:, 0].T]))
    told = set(models.told)
    return {
        name: spread_of(one)
        for name, one in drawn.items()
        if name in told and np.isfinite(one).all()
    }


def _rivals(searched: Searched, entry: Entry) -> list[Rival]:
    """First those on the front that are nearest in value, then the nearest designs."""
    pair = entry.request.pair
    own = _value(searched, entry) or 0.0
    front = [one for one in searched.front if one.request.pair != pair]
    front.sort(key=lambda one: abs(value_of(searched.brief, one) - own))
    told = {one.request.pair for one in front[:ON_FRONT]} | {pair}
    unlike = [one for one in searched.tried if one.request.pair not in told]
    unlike = list({one.request.pair.id: one for one in unlike}.values())
    order = nearest(pair, [one.request.pair for one in unlike])
    found = [_rival(searched, "front", entry, one) for one in front[:ON_FRONT]]
    return found + [_rival(searched, "near", entry, unlike[at]) for at in order[:NEAR]]


def _rival(searched: Searched, kind: str, entry: Entry, other: Entry) -> Rival:
    outcome = outcome_of(other)
    return Rival(
        kind,
        other.number,
        other.request.pair.place.id,
        differences(entry.request.pair, other.request.pair),
        outcome,
        _value(searched, other),
        searched.brief.goal.keeps(outcome),
    )


def _origin(searched: Searched, entry: Entry) -> Origin:
    pair = entry.request.pair
    earlier = [one for one in searched.tried if one.number < entry.number]
    order = nearest(pair, [one.request.pair for one in earlier])
    parent = earlier[order[0]] if order else None
    assert entry.evaluation is not None
    return Origin(
        reason=entry.asked.reason,
        turn=entry.asked.turn,
        parent=None if parent is None else parent.number,
        differences="" if parent is None else differences(parent.request.pair, pair),
        training_cost=entry.evaluation.training_cost,
    )


def _value(searched: Searched, entry: Entry) -> float | None:
    return None if outcome_of(entry).score is None else value_of(searched.brief, entry)


def _mean(name: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    return float(np.mean(values) if name == "score" else np.exp(np.mean(np.log(values))))
