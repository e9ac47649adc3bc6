"""What one more millisecond would buy: the best that a limit leaves, as a function of the limit.

The pairs looked at are the trials and what a climb finds around the best of them with each
limit tightened, loosened and lifted. What lies elsewhere is not known, so more may be had.
Two estimates are made, each where it comes nearer to known truths:

    level, gain of half as much again and more    by the pairs that the models would pick
    gain of one step    max J within t + step less max J within t, in the same draw of all pairs

A draw's maximum picks what the draw flatters, which falls out of the difference of a small
step only; there a pick that stays the same would claim a gain of just nothing.
Draws are joint (`joint_draws`): like pairs are off alike.
Gains are told in score: a gain of J is worth score_scale / w_score of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.cosearch.goal import COSTS, Goal, Limits
from edgetran_host.cosearch.joint_draws import draw_together
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.outputs import OUTPUTS, OutputModels
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.querying import Effort, candidates, climb
from edgetran_host.cosearch.space import ProductSpace

Rng = np.random.Generator

DRAWS = 200
INTERVAL = (0.05, 0.95)
STEP_SHARE = 0.1  # of a limit: a step is the power of ten below
HALF = 1.5  # times a limit: half as much again
SPAN = (0.5, 2.0)  # of a limit: what a curve covers
POINTS = 25  # of a curve
TRIED = (0.7, 1.4, None)  # factors of a limit that pairs are looked for with; None: lifted
KEPT = 40  # pairs that each of them adds
BROKEN = 20.0  # J that an excess of 1 costs a climb
SHOWS = 1e-3  # score: a gain below is nothing
LEAST_DRAWS = 20  # that keep the limits, before a gain is told
EFFORT = Effort(mutants=48, crossings=16, restarts=16, other_places=8, climbers=4, rounds=8)


@dataclass(frozen=True)
class Spread:
    """The mean of the draws, and where nine of ten lie."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """Of one limit, the others as they are. Costs in SI; gains and scores as shares, not points.

    None: nothing is expected to keep the limits, or hardly a draw does.
    """

    cost: str  # one of COSTS
    limit: float
    step: float
    gain: Spread | None  # by one step more
    half: Spread | None  # by half as much again
    lifted: Spread | None  # by all that the space offers beyond the limit
    binds: float  # share of draws in which lifting the limit shows
    curve: tuple[tuple[float, Spread | None], ...]  # limit, score of the pick within it


def sensitivities(
    models: OutputModels, product: ProductSpace, trials: Sequence[Trial], rng: Rng
) -> list[Sensitivity]:
    """One a limit of the goal."""
    goal = models.goal
    limited = [name for name in COSTS if getattr(goal.limits, name) is not None]
    if not limited:
        return []
    pairs = pool(models, product, trials, rng)
    expected = models.outcomes(models.believe(pairs), np.zeros((1, OUTPUTS)))
    drawn = draw_together(models, pairs, DRAWS, rng)
    places = [pair.place for pair in pairs]
    return [of_limit(name, goal, places, expected, drawn) for name in limited]


def of_limit(
    name: str,
    goal: Goal,
    places: Sequence[Place],
    expected: tuple[np.ndarray, np.ndarray],
    drawn: tuple[np.ndarray, np.ndarray],
) -> Sensitivity:
    """expected, drawn: scores (s, n) and costs (s, n, 4) of n pairs; s is 1 of what is expected."""
    column, limit = COSTS.index(name), getattr(goal.limits, name)
    step = step_of(limit)
    span = np.geomspace(SPAN[0] * limit, SPAN[1] * limit, POINTS)
    asked = np.array([limit, HALF * limit, np.inf, *span])
    allowed, costs = _allowed(goal, column, places, *expected)[0], expected[1][0, :, column]
    now, half, best, *along = best_within(allowed, costs, asked)
    worth = goal.score_scale / goal.weights.score if goal.weights.score else 1.0
    values = worth * goal.values(places, *drawn)  # (s, n)
    lifted = values[:, best] - values[:, now]
    return Sensitivity(
        cost=name,
        limit=limit,
        step=step,
        gain=_step_gain(
            worth * _allowed(goal, column, places, *drawn), drawn[1][..., column], limit, step
        ),
        half=None if now < 0 else spread_of(values[:, half] - values[:, now]),
        lifted=None if now < 0 else spread_of(lifted),
        binds=1.0 if now < 0 else float((lifted > SHOWS).mean()),
        curve=tuple(
            (float(t), None if at < 0 else spread_of(drawn[0][:, at])) for t, at in zip(span, along)
        ),
    )


def _step_gain(values: np.ndarray, costs: np.ndarray, limit: float, step: float) -> Spread | None:
    """values, costs (s, n) of draws; values of -inf are not allowed."""
    now, further = (
        np.where(costs > most, -np.inf, values).max(axis=1) for most in (limit, limit + step)
    )
    known = np.isfinite(now)
    return spread_of((further - now)[known]) if known.sum() >= LEAST_DRAWS else None


def _allowed(
    goal: Goal, column: int, places: Sequence[Place], scores: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    """(s, n) J; -inf where another limit than that of the column is broken."""
    others = goal.excess(costs)
    others[..., column] = 0.0
    kept = (others <= 0).all(axis=-1)
    found: np.ndarray = np.where(kept, goal.values(places, scores, costs), -np.inf)
    return found


def best_within(values: np.ndarray, costs: np.ndarray, limits: np.ndarray) -> list[int]:
    """values, costs (n,), limits (p,) -> p indices of the best that costs at most so much.

    -1: there is none. A cost that is not known breaks no limit.
    """
    found = []
    for limit in limits:
        within = np.where(costs > limit, -np.inf, values)
        found.append(int(within.argmax()) if np.isfinite(within).any() else -1)
    return found


def step_of(limit: float) -> float:
    """A power of ten, a tenth of the limit or less: 1 ms of 40 ms."""
    return float(10.0 ** math.floor(math.log10(STEP_SHARE * limit * (1 + 1e-9))))


def pool(
    models: OutputModels, product: ProductSpace, trials: Sequence[Trial], rng: Rng
) -> list[Pair]:
    """Different pairs, among which the best within any limit near those given should be."""
    tried = [trial.pair for trial in trials]
    found = dict.fromkeys(tried)
    for limits in _tried(models.goal.limits):
        goal = replace(models.goal, limits=limits)

        def value(pairs: Sequence[Pair], goal: Goal = goal) -> np.ndarray:
            scores, costs = models.outcomes(models.believe(pairs), np.zeros((1, OUTPUTS)))
            excess = np.maximum(goal.excess(costs), 0).sum(axis=-1)
            places = [pair.place for pair in pairs]
            worth: np.ndarray = (goal.values(places, scores, costs) - BROKEN * excess)[0]
            return worth

        order = np.argsort(-value(tried), kind="stable")
        parents = [tried[at] for at in order[: EFFORT.parents]]
        starts = [*parents, *candidates(product, parents, rng, EFFORT)]
        climbed = climb(value, product, starts, set(), rng, EFFORT)
        found |= dict.fromkeys(query.pair for query in climbed[:KEPT])
    return list(found)


def _tried(limits: Limits) -> Iterator[Limits]:
    yield limits
    for name in COSTS:
        limit = getattr(limits, name)
        for factor in TRIED if limit is not None else ():
            yield replace(limits, **{name: None if factor is None else factor * limit})


def spread_of(drawn: np.ndarray) -> Spread:
    return Spread(float(drawn.mean()), *(float(one) for one in np.quantile(drawn, INTERVAL)))
