"""One model an output, put together to joint samples of what a pair would give.

The score is a matter of the design alone, so what was learnt on one board counts on all.
Costs are modelled in logarithms, by work and place, against the goal's reference of the
place, which takes a board's size out of them: latency, mean power (energy over
latency, which one constant a board nearly says), peak power, size. The models learn what sums of
work (`cost_prior`), or whoever else foretells costs, leave over. Scores below the
median are compressed: how bad a bad design is need not be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.cost_prior import CostPrior
from edgetran_host.cosearch.features import PAID_FOR, ArchitectureFeatures, place_rows
from edgetran_host.cosearch.gaussian_process import GaussianProcess, learn_scales
from edgetran_host.cosearch.goal import COSTS, Goal, costs
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.pair_kernel import PairKernel
from edgetran_host.space.design_space import DesignSpace

SCORE, LATENCY, POWER, PEAK, SIZE = range(5)  # columns of samples
OUTPUTS = 5
FARTHEST = 10.0  # in spreads below the median, compressed; no score is worse

Foretell = Callable[[Sequence[Pair]], np.ndarray]
"""Pairs -> (n, 4) costs as `goal.COSTS`; NaN where it knows nothing."""


@dataclass(frozen=True)
class Belief:
    """Means and deviations (n, outputs) of n pairs, in the models' units; NaN: not given."""

    mean: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class Compression:
    """z = y from the median up, m - s ln(1 + (m - y) / s) below it."""

    median: float
    spread: float

    def squeeze(self, y: np.ndarray) -> np.ndarray:
        below = np.maximum(self.median - y, 0) / self.spread
        return np.where(y < self.median, self.median - self.spread * np.log1p(below), y)

    def release(self, z: np.ndarray) -> np.ndarray:
        below = np.clip((self.median - z) / self.spread, 0, FARTHEST)
        return np.where(z < self.median, self.median - self.spread * np.expm1(below), z)


class Describer:
    """Pairs as rows of numbers; the same for all models, made once a search."""

    def __init__(self, space: DesignSpace, places: Sequence[Place]) -> None:
        self.features = ArchitectureFeatures(space)
        self._numbers = {place: number for number, place in enumerate(places)}
        self._places = place_rows(places)

    def rows(self, pairs: Sequence[Pair]) -> np.ndarray:
        """(n, k + 1 + p): the design, the place's number, the place's features."""
        designs = self.features.rows([pair.architecture for pair in pairs])
        numbers = self.numbers(pairs)
        return np.hstack([designs, numbers[:, None], self._places[numbers]])

    def numbers(self, pairs: Sequence[Pair]) -> np.ndarray:
        return np.array([self._numbers[pair.place] for pair in pairs], dtype=int)

    def seen_by(self, output: int, rows: np.ndarray) -> np.ndarray:
        """The score's model sees the design; those of costs its work, its heads and the place."""
        width = self.features.groups[-1].stop
        if output == SCORE:
            return rows[:, :width]
        paid_for = self.kernel(output).groups[-1].stop
        return np.hstack([rows[:, :paid_for], rows[:, width:]])

    def kernel(self, output: int) -> PairKernel:
        groups = self.features.groups
        if output == SCORE:
            return PairKernel(groups, with_places=False)
        return PairKernel(tuple(one for one in groups if one.name in PAID_FOR), with_places=True)


class OutputModels:
    """Fitted on trials; `learnt` are scales found before, by output, else they are learnt."""

    def __init__(
        self,
        describer: Describer,
        trials: Sequence[Trial],
        goal: Goal,
        foretell: Foretell | None = None,
        learnt: dict[int, np.ndarray] | None = None,
    ) -> None:
        self.goal = goal
        self._describer = describer
        told = None
        if foretell is None:
            foretell = prior = CostPrior(trials, goal)
            told = prior.held_out
        self._foretell: Foretell = foretell
        pairs = [trial.pair for trial in trials]
        rows = describer.rows(pairs)
        targets = _targets(trials)
        self.squeezed = _compression(targets[:, SCORE])
        targets[:, SCORE] = self.squeezed.squeeze(targets[:, SCORE])
        targets -= self.foretold(pairs, told)
        numbers = describer.numbers(pairs)
        self._unknown = {  # (output, place): tried there, and never given
            (output, int(number))
            for output in range(OUTPUTS)
            for number in set(numbers)
            if np.isnan(targets[numbers == number, output]).all()
        }
        self.scales: dict[int, np.ndarray] = {}
        self._models: dict[int, GaussianProcess] = {}
        for output in wanted_outputs(goal):
            known = np.isfinite(targets[:, output])
            if known.any():
                x, y = describer.seen_by(output, rows[known]), targets[known, output]
                kernel = describer.kernel(output)
                found = (learnt or {}).get(output)
                self.scales[output] = learn_scales(kernel, x, y) if found is None else found
                self._models[output] = GaussianProcess(kernel, self.scales[output], x, y)

    def believe(self, pairs: Sequence[Pair]) -> Belief:
        return self.believe_rows(
            self._describer.rows(pairs), self._describer.numbers(pairs), self.foretold(pairs)
        )

    def believe_rows(self, rows: np.ndarray, numbers: np.ndarray, foretold: np.ndarray) -> Belief:
        """Rows need not be those of any design; numbers (n,) of places, foretold (n, outputs)."""
        mean = np.full((len(rows), OUTPUTS), np.nan)
        deviation = np.full((len(rows), OUTPUTS), np.nan)
        for output, model in self._models.items():
            mean[:, output], deviation[:, output] = model.predict(
                self._describer.seen_by(output, rows)
            )
        for output, number in self._unknown:
            mean[numbers == number, output] = np.nan
        return Belief(mean + foretold, deviation)

    def outcomes(self, belief: Belief, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """normal (s, outputs) -> scores (s, n) and costs (s, n, 4), NaN where not given."""
        drawn = belief.mean + normal[:, None, :] * belief.deviation  # (s, n, outputs)
        return self.squeezed.release(drawn[..., SCORE]), _costs_of(drawn)

    def expected(self, pairs: Sequence[Pair]) -> np.ndarray:
        """(n,) the objective at the means."""
        return self.expected_of(self.believe(pairs), [pair.place for pair in pairs])

    @property
    def told(self) -> tuple[str, ...]:
        """What is modelled, as names of an outcome."""
        outputs = wanted_outputs(self.goal)
        return tuple(name for output, name in enumerate(("score", *COSTS)) if output in outputs)

    @property
    def processes(self) -> dict[int, GaussianProcess]:
        """By output, where there is one."""
        return self._models

    def rows_of(self, output: int, pairs: Sequence[Pair]) -> np.ndarray:
        """(n, k) as the output's process sees the pairs."""
        return self._describer.seen_by(output, self._describer.rows(pairs))

    def expected_of(self, belief: Belief, places: Sequence[Place]) -> np.ndarray:
        scores, costs = self.outcomes(belief, np.zeros((1, OUTPUTS)))
        found: np.ndarray = self.goal.values(places, scores, costs)[0]
        return found

    def foretold(self, pairs: Sequence[Pair], told: np.ndarray | None = None) -> np.ndarray:
        """(n, outputs) logarithms; where nothing is foretold, those of the reference.

        told: (n, 4) costs foretold by other means.
        """
        found = np.zeros((len(pairs), OUTPUTS))
        references = costs([self.goal.reference(pair.place) for pair in pairs])
        found[:, LATENCY:] = np.nan_to_num(_in_logarithms(references))
        if len(pairs):
            logarithms = _in_logarithms(self._foretell(pairs) if told is None else told)
            found[:, LATENCY:] = np.where(np.isfinite(logarithms), logarithms, found[:, LATENCY:])
        return found


def wanted_outputs(goal: Goal) -> list[int]:
    """What the goal weighs or limits."""
    weights = dict(zip(COSTS, goal.weights.costs))
    wanted = {name for name in COSTS if weights[name] or getattr(goal.limits, name) is not None}
    found = [SCORE]
    if wanted & {"latency_s", "energy_j"}:
        found.append(LATENCY)
    for name, output in (("energy_j", POWER), ("peak_power_w", PEAK), ("size_bytes", SIZE)):
        if name in wanted:
            found.append(output)
    return found


def _targets(trials: Sequence[Trial]) -> np.ndarray:
    """(n, outputs) score, and logarithms of latency, mean power, peak, size."""
    outcomes = [trial.outcome for trial in trials]
    scores = np.array([outcome.score for outcome in outcomes], dtype=float)
    return np.hstack([scores[:, None], _in_logarithms(costs(outcomes))])


def _in_logarithms(of_costs: np.ndarray) -> np.ndarray:
    """(n, 4) costs -> (n, 4) as LATENCY to SIZE."""
    found: np.ndarray = np.log(of_costs)
    found[:, POWER - 1] -= found[:, LATENCY - 1]
    return found


def _costs_of(drawn: np.ndarray) -> np.ndarray:
    logarithms = drawn[..., LATENCY:].copy()
    logarithms[..., POWER - 1] += logarithms[..., LATENCY - 1]
    found: np.ndarray = np.exp(logarithms)
    return found


def _compression(scores: np.ndarray) -> Compression:
    median = float(np.median(scores))
    above = scores[scores >= median] - median
    spread = float(above.mean()) if len(above) else 0.0
    return Compression(median, spread if spread > 0 else 1.0)
