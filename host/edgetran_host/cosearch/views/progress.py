"""How good the best found so far was, evaluation by evaluation, beside what chance would find.

Of an oracle's search random ones are simulated at the same budget on the same oracle, and of
both the exact value of what looked best is told, free of lucky noise. A search that paid for
its evaluations has no such comparison: only its own draws by chance are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.front import hypervolume, objectives
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.standing import outcome_of
from edgetran_host.cosearch.views.searched import Searched

REPEATS = 20  # random searches
MARGIN = 0.1  # a front's reference lies so far behind the worst figures, in ranges
BAND = (0.1, 0.9)


@dataclass(frozen=True)
class Progress:
    """NaN: nothing kept the limits yet. Arrays (n,), n evaluations."""

    what: str
    search: np.ndarray
    chance: np.ndarray | None  # (3, n): median, and where eight of ten random searches lie
    starts: int  # evaluations before any model


def progress(searched: Searched, oracle: Oracle | None = None, seed: int = 0) -> Progress:
    brief = searched.brief
    pairs = [one.request.pair for one in searched.tried]
    seen = [outcome_of(one) for one in searched.tried]
    if brief.whole_front:
        scale = _Scale(brief, seen)
        what, curve = "volume dominated by the front", scale.curve
    else:
        what, curve = "goal's value of the best so far", _Best(brief, oracle).curve
    chance = None
    if oracle is not None and pairs:
        runs = [_random(brief, oracle, len(pairs), seed + at) for at in range(REPEATS)]
        curves = np.array([curve(*run) for run in runs])
        chance = _band(curves)
    starts = sum(one.asked.reason.startswith("one of the first") for one in searched.tried)
    return Progress(what, curve(pairs, seen), chance, starts)


class _Best:
    """What looked best of those that seemed to keep the limits."""

    def __init__(self, brief: Brief, oracle: Oracle | None) -> None:
        self._brief, self._oracle = brief, oracle

    def curve(self, pairs: Sequence[Pair], seen: Sequence[Outcome]) -> np.ndarray:
        goal, best, value = self._brief.goal, -np.inf, np.nan
        told = seen if self._oracle is None else self._oracle.exact(pairs)
        found = []
        for pair, outcome, exact in zip(pairs, seen, told):
            if outcome.score is not None and goal.keeps(outcome):
                looks = goal.value(pair.place, outcome)
                if looks > best:
                    best, value = looks, goal.value(pair.place, exact)
            found.append(value)
        return np.array(found)


class _Scale:
    """Volumes as shares of the box that the search's own trials span."""

    def __init__(self, brief: Brief, seen: Sequence[Outcome]) -> None:
        self._goal = brief.goal
        points = np.array([objectives(one) for one in seen if one.score is not None])
        self._known = np.isfinite(points).all(axis=0) if len(points) else np.ones(4, bool)
        points = points[:, self._known] if len(points) else np.zeros((1, 4))
        self._low, high = points.min(axis=0), points.max(axis=0)
        self._span = np.where(high > self._low, high - self._low, 1.0)

    def curve(self, pairs: Sequence[Pair], seen: Sequence[Outcome]) -> np.ndarray:
        worst = np.full(self._known.sum(), 1 + MARGIN)
        points: list[np.ndarray] = []
        found: list[float] = []
        for outcome in seen:
            new = outcome.score is not None and self._goal.keeps(outcome)
            if new:
                points.append((objectives(outcome)[self._known] - self._low) / self._span)
            last = found[-1] if found else 0.0
            found.append(hypervolume(np.array(points), worst) if new else last)
        return np.array(found)


def _random(
    brief: Brief, oracle: Oracle, count: int, seed: int
) -> tuple[list[Pair], list[Outcome]]:
    """Designs of one block and any others in turn, boards by chance."""
    rng = np.random.default_rng([seed, count])
    tied = brief.product.sample(rng, count - count // 2, tied=True)
    others = brief.product.sample(rng, count // 2, tied=False)
    pairs = [(tied if at % 2 == 0 else others)[at // 2] for at in range(count)]
    return pairs, oracle.measure(pairs, rng)


def _band(curves: np.ndarray) -> np.ndarray:
    """NaN counts as the worst: a search that has nothing yet."""
    ranked = np.where(np.isnan(curves), -np.inf, curves)
    found = np.quantile(ranked, (0.5, *BAND), axis=0, method="nearest")
    return np.where(np.isfinite(found), found, np.nan)
