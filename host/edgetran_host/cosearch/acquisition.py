"""How much a pair is worth trying, by samples of all its outputs together.

Expected improvement is the mean over samples of J(sample) - J(best), where that is positive
and the sample keeps every limit, so that limits act as a probability. Both edges are softened
(a softplus, a sigmoid an excess), which leaves hill climbing a slope where nothing is
promising yet. Samples share their random numbers among pairs, so that pairs compare.
With a front, improvement is the volume that a sample adds to it, averaged alike: what the
sample dominates, less what of it the front, moved behind the sample, dominates too.
Source: Ament et al., "Unexpected improvements to expected improvement" (2023); Emmerich et
al., "Hypervolume-based expected improvement" (2011).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
from scipy.special import log_expit, logsumexp
from scipy.stats import norm, qmc

from edgetran_host.cosearch.front import front, hypervolume
from edgetran_host.cosearch.goal import COSTS
from edgetran_host.cosearch.outputs import OUTPUTS, Belief, OutputModels
from edgetran_host.cosearch.pair import Place

SAMPLES = 64
SOFT_GAIN = 0.02  # in deviations of the objective among the trials
SOFT_LIMIT = 0.01  # in ln(cost / limit): one per cent
QUANTILE = 0.9
FRONT_SAMPLES = 16  # each costs a hypervolume
MARGIN = 0.1  # the reference lies so far behind the worst trial, in ranges
TINY = 1e-300


def normal_samples(rng: np.random.Generator, count: int = SAMPLES) -> np.ndarray:
    """(count, outputs) independent standard normals, evenly spread."""
    points = qmc.Sobol(OUTPUTS, seed=rng).random(count)
    drawn: np.ndarray = norm.ppf(np.clip(points, 1e-6, 1 - 1e-6))
    return drawn


class Acquisition(abc.ABC):
    """Higher is better; comparable among pairs of one acquisition only."""

    reason: str  # what a query is asked for

    def __init__(self, models: OutputModels, normal: np.ndarray) -> None:
        self.models = models
        self.normal = normal

    @abc.abstractmethod
    def values(self, belief: Belief, places: Sequence[Place]) -> np.ndarray:
        """(n,)"""

    def kept(self, costs: np.ndarray) -> np.ndarray:
        """costs (s, n, 4) -> (s, n) ln of how far limits are kept; 0: by far, or none given."""
        goal = self.models.goal
        limited = [at for at, name in enumerate(COSTS) if getattr(goal.limits, name) is not None]
        soft = log_expit(-goal.excess(costs)[..., limited] / SOFT_LIMIT)
        known = np.isfinite(costs[..., limited])
        found: np.ndarray = np.where(known, soft, 0.0).sum(axis=-1)
        return found


class Improvement(Acquisition):
    """ln of expected improvement over `best`; of the probability to keep limits without one."""

    reason = "expected improvement"

    def __init__(
        self, models: OutputModels, normal: np.ndarray, best: float | None, spread: float
    ) -> None:
        super().__init__(models, normal)
        self._best = best
        self._soft = SOFT_GAIN * spread

    def values(self, belief: Belief, places: Sequence[Place]) -> np.ndarray:
        scores, costs = self.models.outcomes(belief, self.normal)
        kept = self.kept(costs)
        if self._best is None:
            return _log_mean(kept)
        gain = (self.models.goal.values(places, scores, costs) - self._best) / self._soft
        return _log_mean(_log_softplus(gain) + kept)


class Quantile(Acquisition):
    """An upper quantile of the objective, where broken limits cost what they are worth."""

    reason = "upper quantile of the goal"

    def values(self, belief: Belief, places: Sequence[Place]) -> np.ndarray:
        scores, costs = self.models.outcomes(belief, self.normal)
        worth = self.models.goal.values(places, scores, costs) + self.kept(costs)
        found: np.ndarray = np.quantile(worth, QUANTILE, axis=0)
        return found


class Uncertainty(Acquisition):
    """The deviation of the objective, less where limits are likely to break."""

    reason = "where the models know least"

    def values(self, belief: Belief, places: Sequence[Place]) -> np.ndarray:
        scores, costs = self.models.outcomes(belief, self.normal)
        spread = self.models.goal.values(places, scores, costs).std(axis=0)
        found: np.ndarray = np.log(np.maximum(spread, TINY)) + _log_mean(self.kept(costs))
        return found


class FrontGrowth(Acquisition):
    """Expected growth of the dominated volume; `points` (n, m) are the trials' objectives."""

    reason = "expected growth of the front"

    def __init__(self, models: OutputModels, normal: np.ndarray, points: np.ndarray) -> None:
        super().__init__(models, normal[:FRONT_SAMPLES])
        self._columns = np.isfinite(points).all(axis=0)
        chosen = points[:, self._columns]
        low, high = chosen.min(axis=0), chosen.max(axis=0)
        self._low, self._span = low, np.where(high > low, high - low, 1.0)
        self._front = self._scaled(chosen[front(chosen)])
        self._reference = np.full(self._columns.sum(), 1.0 + MARGIN)

    def values(self, belief: Belief, places: Sequence[Place]) -> np.ndarray:
        scores, costs = self.models.outcomes(belief, self.normal)
        kept = np.exp(self.kept(costs))
        raw = np.concatenate([1 - scores[..., None], np.log(costs[..., :3])], axis=-1)
        points = self._scaled(raw[..., self._columns])
        points = np.where(np.isfinite(points), points, self._reference)
        growth = np.array([[self._growth(point) for point in row] for row in points])
        found: np.ndarray = np.log(np.maximum((growth * kept).mean(axis=0), TINY))
        return found

    def _growth(self, point: np.ndarray) -> float:
        if (point >= self._reference).any():
            return 0.0
        behind = np.maximum(self._front, point)
        own = float(np.prod(self._reference - point))
        return own - hypervolume(behind, self._reference)

    def _scaled(self, points: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (points - self._low) / self._span
        return scaled


def _log_softplus(x: np.ndarray) -> np.ndarray:
    """ln ln(1 + e^x), which is x far below zero."""
    found: np.ndarray = np.where(x < -30, x, np.log(np.logaddexp(0, np.maximum(x, -30))))
    return found


def _log_mean(logarithms: np.ndarray) -> np.ndarray:
    """(s, n) -> (n,)"""
    found: np.ndarray = logsumexp(logarithms, axis=0) - np.log(len(logarithms))
    return found
