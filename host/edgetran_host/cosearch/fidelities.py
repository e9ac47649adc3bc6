"""What several trainings of one design, some of them short, say together about a full one.

    score of fidelity f = score of a full training + b_f + e,    e ~ N(0, v_f)

b_f is the mean of what designs differ by that were scored both ways, 0 before any was, which
harms no comparison, and 0 for full trainings. v_f is learnt from how these differences and
repeats scatter, and starts at what was measured on another task, which counts as PRIOR_COUNT
of them. A design's score is the mean of its scores less their b, weighted by 1 / v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.cosearch.evaluator import FIDELITIES, Evaluation, Request
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.space.architecture import Architecture

FULL = FIDELITIES[-1]
PRIOR_COUNT = 2.0
# Deviations of a score, of one seed: of 33 designs on SST-2 (benchmarks/bench_accuracy.py).
ASSUMED = {"transfer": 0.063, "short": 0.009, "full": 0.003}


@dataclass(frozen=True)
class Seen:
    """What was asked of the world, and what it gave."""

    request: Request
    evaluation: Evaluation

    @property
    def design(self) -> Architecture:
        return self.request.pair.architecture

    @property
    def score(self) -> float | None:
        return self.evaluation.outcome.score


@dataclass(frozen=True)
class Joined:
    """A design's score as a full training would give it; `deviation` is that of the mean."""

    score: float
    deviation: float


class Fidelities:
    """`bias` and `deviation` by fidelity, learnt from all that was seen."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._scores = _by_design(seen)
        full = [found[FULL] for found in self._scores.values() if FULL in found]
        off = [score - float(np.mean(scores)) for scores in full for score in scores]
        self.bias: dict[str, float] = {FULL: 0.0}
        self.deviation = {FULL: _deviation(FULL, off, sum(len(scores) - 1 for scores in full))}
        for fidelity in FIDELITIES[:-1]:
            both = [found for found in self._scores.values() if {fidelity, FULL} <= set(found)]
            apart = np.array([np.mean(one[fidelity]) - np.mean(one[FULL]) for one in both])
            self.bias[fidelity] = float(apart.mean()) if len(both) else 0.0
            off = (apart - self.bias[fidelity]).tolist()
            self.deviation[fidelity] = _deviation(fidelity, off, max(0, len(both) - 1))

    def joined(self, design: Architecture) -> Joined | None:
        """None: it has no score yet."""
        return self._join(self._scores.get(design, {}))

    def trials(self, seen: Sequence[Seen]) -> list[Trial]:
        """One a pair, as a designer is to be told: `designer.retell(fidelities.trials(seen))`.

        Its costs are those that were seen last, its training cost that of all trainings.
        """
        latest: dict[str, Seen] = {}
        spent: dict[str, float] = {}
        for one in seen:
            latest[one.request.pair.id] = one
            paid = spent.get(one.request.pair.id, 0.0)
            spent[one.request.pair.id] = paid + one.evaluation.training_cost
        return [
            Trial(one.request.pair, self._outcome(one), spent[one.request.pair.id])
            for one in latest.values()
        ]

    def _outcome(self, one: Seen) -> Outcome:
        found = self.joined(one.design)
        return replace(one.evaluation.outcome, score=None if found is None else found.score)

    def _join(self, scores: Mapping[str, Sequence[float]]) -> Joined | None:
        if not scores:
            return None
        weights = {name: self.deviation[name] ** -2 * len(all_) for name, all_ in scores.items()}
        total = sum(weights.values())
        means = {name: float(np.mean(all_)) - self.bias[name] for name, all_ in scores.items()}
        score = sum(weights[name] * means[name] for name in scores) / total
        return Joined(score, total**-0.5)


def highest(seen: Sequence[Seen]) -> dict[Architecture, str]:
    """The best fidelity at which each design was scored."""
    return {design: max(found, key=FIDELITIES.index) for design, found in _by_design(seen).items()}


def _by_design(seen: Sequence[Seen]) -> dict[Architecture, dict[str, list[float]]]:
    """Scores by fidelity, one a seed: the same training counts once, on however many boards."""
    unique = {(one.design, one.request.fidelity, one.request.seed): one.score for one in seen}
    found: dict[Architecture, dict[str, list[float]]] = {}
    for (design, fidelity, _), score in unique.items():
        if score is not None:
            found.setdefault(design, {}).setdefault(fidelity, []).append(score)
    return found


def _deviation(fidelity: str, off: Sequence[float], freedom: int) -> float:
    prior = PRIOR_COUNT * ASSUMED[fidelity] ** 2
    return float(np.sqrt((prior + np.square(off).sum()) / (PRIOR_COUNT + freedom)))
