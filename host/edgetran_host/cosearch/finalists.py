"""The best pairs of a search, evaluated again: what is reported never chose itself.

The best of many noisy figures looks better than it is. Finalists are evaluated with other
seeds, and only those evaluations count: their mean score, and the geometric mean of each cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluating import Evaluating
from edgetran_host.cosearch.evaluator import Evaluator, Request
from edgetran_host.cosearch.front import hypervolume, objectives
from edgetran_host.cosearch.goal import COSTS
from edgetran_host.cosearch.history import Asked, Entry, History
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.standing import leading_front, outcome_of, ranked

FINALIST = "finalist"
ROUNDS = 3
FRONT = 8  # members of a front that are evaluated again, those that cover most of it
MARGIN = 0.1  # of the front's extent, beyond its worst figures


OnEntries = Callable[[Sequence[Entry]], None]


@dataclass(frozen=True)
class Confirmed:
    """`outcome` is that of `again`; `first` is the trial that made the pair a finalist."""

    first: Entry
    again: tuple[Entry, ...]
    outcome: Outcome
    score_deviation: float  # of one evaluation; 0 where there is only one
    value: float
    kept: bool  # every limit, still

    @property
    def pair(self) -> Pair:
        return self.first.request.pair

    @property
    def sources(self) -> dict[str, str]:
        assert self.again[-1].evaluation is not None
        return dict(self.again[-1].evaluation.sources)


@dataclass(frozen=True)
class Repeats:
    count: int = 3  # finalists; of a front, FRONT are taken
    seeds: int = 2  # evaluations of each
    fidelity: str = "full"


def rounds(brief: Brief, entries: Sequence[Entry], count: int) -> list[list[Entry]]:
    """The best by value, and those behind them for when none of the best keeps its limits.

    Of a front those that cover the most together.
    """
    if not brief.whole_front:
        found = ranked(brief, entries)[: ROUNDS * count]
        return [found[at : at + count] for at in range(0, len(found), count)]
    leaders = leading_front(brief, entries)
    if not leaders:
        return []
    points = np.array([objectives(outcome_of(one)) for one in leaders])
    points = points[:, np.isfinite(points).all(axis=0)]
    return [[leaders[at] for at in spread(points, FRONT)]]


def spread(points: np.ndarray, count: int) -> list[int]:
    """points (n, m), minimised -> indices: each next one adds the most hypervolume."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    worst = np.full(points.shape[1], 1 + MARGIN)
    chosen: list[int] = []
    while len(chosen) < min(count, len(points)):
        left = [at for at in range(len(points)) if at not in chosen]
        chosen.append(max(left, key=lambda at: hypervolume(scaled[[*chosen, at]], worst)))
    return chosen


def confirm(
    evaluator: Evaluator,
    history: History,
    chosen: Sequence[Entry],
    repeats: Repeats,
    worker: str,
    parallel: int,
    on_entries: OnEntries,
) -> list[Confirmed]:
    """Those that gave something again, in the order given; each evaluation is paid for once."""
    wanted = [
        Request(one.request.pair, repeats.fidelity, one.request.seed + 1 + seed)
        for one in chosen
        for seed in range(repeats.seeds)
    ]
    history.mend(worker)
    _evaluate(Evaluating(evaluator, history), history, wanted, worker, parallel, on_entries)
    found = [_confirmed(history.brief, one, _again(history, one)) for one in chosen]
    return [one for one in found if one is not None]


def _evaluate(
    evaluating: Evaluating,
    history: History,
    wanted: Sequence[Request],
    worker: str,
    parallel: int,
    on_entries: OnEntries,
) -> None:
    known = {_key(one.request): one for one in history.entries() if one.asked.role == FINALIST}
    for turn, request in enumerate(wanted):
        if _key(request) not in known:
            history.ask(request, Asked(worker, turn, FINALIST))
    todo = [
        one
        for one in history.entries()
        if one.pending and one.asked.role == FINALIST and one.asked.worker == worker
    ]
    running: set[int] = set()
    while todo or running:
        while todo and len(running) < parallel:
            entry = todo.pop(0)
            running.add(entry.number)
            evaluating.start(entry.number, entry.request, None)
        on_entries(history.entries())
        if evaluating.collect():
            running &= {one.number for one in history.entries() if one.pending}
    on_entries(history.entries())


def _again(history: History, first: Entry) -> list[Entry]:
    return [
        one
        for one in history.entries()
        if one.asked.role == FINALIST and one.request.pair == first.request.pair and one.evaluation
    ]


def _confirmed(brief: Brief, first: Entry, again: Sequence[Entry]) -> Confirmed | None:
    outcomes = [outcome_of(one) for one in again]
    scores = [one.score for one in outcomes if one.score is not None]
    if not outcomes:
        return None
    costs = {name: _geometric([getattr(one, name) for one in outcomes]) for name in COSTS}
    assert costs["latency_s"] is not None
    assert costs["size_bytes"] is not None
    score = float(np.mean(scores)) if scores else None
    mean = Outcome(
        score, costs["latency_s"], costs["energy_j"], costs["peak_power_w"], costs["size_bytes"]
    )
    return Confirmed(
        first=first,
        again=tuple(again),
        outcome=mean,
        score_deviation=float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0,
        value=brief.goal.value(first.request.pair.place, mean),
        kept=brief.goal.keeps(mean) and score is not None,
    )


def _geometric(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.exp(np.mean(np.log(known)))) if known else None


def _key(request: Request) -> tuple[str, str, int]:
    return request.pair.id, request.fidelity, request.seed
