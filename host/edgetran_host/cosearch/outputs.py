"""One model an output, put together to joint samples of what a pair would give.

The score is a matter of the design alone, so what was learnt on one board counts on all.
Costs are modelled in logarithms, against the goal's reference of the place, which takes a
board's size out of them: latency, energy and size as sums of work (`work_costs`), peak power
as a process over work and place. Where somebody else foretells costs, such processes model what
that leaves over. Scores below the median are compressed: how bad a bad design is need not be
known. Trials that were not trained teach costs only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.features import ArchitectureFeatures, place_rows
from edgetran_host.cosearch.gaussian_process import GaussianProcess, learn_scales
from edgetran_host.cosearch.goal import COSTS, Goal, costs
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.pair_kernel import PairKernel, ScoreKernel
from edgetran_host.cosearch.work_costs import WorkCosts, fit_work_costs
from edgetran_host.space.design_space import DesignSpace

SCORE, LATENCY, ENERGY, PEAK, SIZE = range(5)  # columns of samples: score, then as `goal.COSTS`
OUTPUTS = 5
SUMS = (LATENCY, ENERGY, SIZE)  # grow with work
COST_GROUPS = ("sizes", "heads")  # of features that costs depend on; they come first
SCORE_GROUPS = (*COST_GROUPS, "positions")  # the set of layers tells a search nothing beyond
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

    def work(self, pairs: Sequence[Pair]) -> np.ndarray:
        """(n, 1 + terms) as `ArchitectureFeatures.work`."""
        return self.features.work([pair.architecture for pair in pairs])

    def seen_by(self, output: int, rows: np.ndarray) -> np.ndarray:
        """The score's model sees the design; those of costs its work, its heads and the place."""
        seen = self.kernel(output).groups[-1].stop
        if output == SCORE:
            return rows[:, :seen]
        return np.hstack([rows[:, :seen], rows[:, self.features.groups[-1].stop :]])

    def kernel(self, output: int) -> PairKernel:
        names = SCORE_GROUPS if output == SCORE else COST_GROUPS
        groups = tuple(one for one in self.features.groups if one.name in names)
        return ScoreKernel(groups, False) if output == SCORE else PairKernel(groups, True)


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
        self._foretell = foretell
        pairs = [trial.pair for trial in trials]
        rows, numbers = describer.rows(pairs), describer.numbers(pairs)
        targets = _targets(trials)
        self.squeezed = _compression(targets[:, SCORE])
        targets[:, SCORE] = self.squeezed.squeeze(targets[:, SCORE])
        self._unknown = {  # (output, place): tried there, and never given
            (output, int(number))
            for output in range(LATENCY, OUTPUTS)
            for number in set(numbers)
            if np.isnan(targets[numbers == number, output]).all()
        }
        wanted = wanted_outputs(goal)
        self._sums = {} if foretell else self._fit_sums(pairs, targets, wanted)
        targets -= self.foretold(pairs).mean
        self.scales: dict[int, np.ndarray] = {}
        self._models: dict[int, GaussianProcess] = {}
        for output in wanted:
            known = np.isfinite(targets[:, output])
            if known.any() and output not in self._sums:
                x, y = describer.seen_by(output, rows[known]), targets[known, output]
                kernel = describer.kernel(output)
                found = (learnt or {}).get(output)
                self.scales[output] = learn_scales(kernel, x, y) if found is None else found
                self._models[output] = GaussianProcess(kernel, self.scales[output], x, y)

    def _fit_sums(
        self, pairs: Sequence[Pair], targets: np.ndarray, wanted: Sequence[int]
    ) -> dict[int, WorkCosts]:
        shares = np.exp(targets - self._of_references(pairs))
        work, numbers = self._describer.work(pairs), self._describer.numbers(pairs)
        known = np.isfinite(shares)
        return {
            output: fit_work_costs(
                work[known[:, output]],
                numbers[known[:, output]],
                shares[known[:, output], output],
                self._describer.features.likely_shares,
            )
            for output in SUMS
            if output in wanted and known[:, output].any()
        }

    def believe(self, pairs: Sequence[Pair]) -> Belief:
        return self.believe_rows(
            self._describer.rows(pairs), self._describer.numbers(pairs), self.foretold(pairs)
        )

    def believe_rows(self, rows: np.ndarray, numbers: np.ndarray, foretold: Belief) -> Belief:
        """Rows need not be those of any design; numbers (n,) of places, foretold of them."""
        mean, deviation = foretold.mean.copy(), foretold.deviation.copy()
        for output, model in self._models.items():
            more, off = model.predict(self._describer.seen_by(output, rows))
            mean[:, output] += more
            deviation[:, output] = np.hypot(deviation[:, output], off)
        if SCORE not in self._models:  # nothing was trained yet
            deviation[:, SCORE] = self.goal.score_scale
        for output, number in self._unknown:
            mean[numbers == number, output] = np.nan
        return Belief(mean, deviation)

    def outcomes(self, belief: Belief, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """normal (s, outputs) -> scores (s, n) and costs (s, n, 4), NaN where not given."""
        drawn = belief.mean + normal[:, None, :] * belief.deviation  # (s, n, outputs)
        return self.squeezed.release(drawn[..., SCORE]), np.exp(drawn[..., LATENCY:])

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

    def foretold(self, pairs: Sequence[Pair]) -> Belief:
        """What the processes start from: sums of work or what else foretells, else references."""
        mean, deviation = self._of_references(pairs), np.zeros((len(pairs), OUTPUTS))
        work, numbers = self._describer.work(pairs), self._describer.numbers(pairs)
        for output, model in self._sums.items():
            share, deviation[:, output] = model.foretell(work, numbers)
            mean[:, output] += share
        if self._foretell and len(pairs):
            told = np.log(self._foretell(pairs))
            mean[:, LATENCY:] = np.where(np.isfinite(told), told, mean[:, LATENCY:])
        return Belief(mean, deviation)

    def _of_references(self, pairs: Sequence[Pair]) -> np.ndarray:
        """(n, outputs) logarithms of the references' costs, 0 where not known and for scores."""
        found = np.zeros((len(pairs), OUTPUTS))
        references = {pair.place: self.goal.reference(pair.place) for pair in pairs}
        logarithms = dict(zip(references, np.nan_to_num(np.log(costs([*references.values()])))))
        if len(pairs):
            found[:, LATENCY:] = [logarithms[pair.place] for pair in pairs]
        return found


def wanted_outputs(goal: Goal) -> list[int]:
    """What the goal weighs or limits."""
    weights = dict(zip(COSTS, goal.weights.costs))
    limited = [getattr(goal.limits, name) is not None for name in COSTS]
    return [SCORE] + [
        output
        for output, name, limit in zip(range(LATENCY, OUTPUTS), COSTS, limited)
        if weights[name] or limit
    ]


def _targets(trials: Sequence[Trial]) -> np.ndarray:
    """(n, outputs) score, and logarithms of costs; NaN: not given."""
    outcomes = [trial.outcome for trial in trials]
    scores = np.array([outcome.score for outcome in outcomes], dtype=float)
    return np.hstack([scores[:, None], np.log(costs(outcomes))])


def _compression(scores: np.ndarray) -> Compression:
    known = scores[np.isfinite(scores)]
    if not len(known):
        return Compression(0.0, 1.0)
    spread = float(known.std())
    return Compression(float(np.median(known)), spread if spread > 0 else 1.0)
