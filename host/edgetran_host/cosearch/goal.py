"""What a co-search maximises, and what it must not exceed.

    J = w_score (score - score_ref) / score_scale - sum over m of w_m ln(m / m_ref)

m runs over latency, energy, peak power and size; m_ref are costs of one reference design on
the same board, so that no board's magnitude drowns another's. A cost that is not known (NaN
in arrays, None in an outcome) is left out. Limits are hard: `excess` is ln(cost / limit),
positive where one is broken.
Source: the method's specification, section 7.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Place

COSTS = ("latency_s", "energy_j", "peak_power_w", "size_bytes")  # columns of arrays of costs


@dataclass(frozen=True)
class Weights:
    """Half for the score, half for the board, as the published objective has them."""

    score: float = 0.5
    latency_s: float = 0.2
    energy_j: float = 0.2
    peak_power_w: float = 0.1
    size_bytes: float = 0.0

    @property
    def costs(self) -> np.ndarray:
        """(4,) in the order of COSTS."""
        return np.array([getattr(self, name) for name in COSTS])


@dataclass(frozen=True)
class Limits:
    """None: no limit."""

    latency_s: float | None = None
    energy_j: float | None = None
    peak_power_w: float | None = None
    size_bytes: float | None = None


@dataclass(frozen=True)
class Goal:
    """References are by place."""

    references: Mapping[Place, Outcome]
    score_scale: float  # of the score that weighs as a factor e of all costs together
    weights: Weights = field(default_factory=Weights)
    limits: Limits = field(default_factory=Limits)

    def value(self, place: Place, outcome: Outcome) -> float:
        """J of one outcome; the reference itself has 0. NaN without a score."""
        score = np.array([outcome.score], dtype=float)  # None becomes NaN
        return float(self.values([place], score, costs([outcome]))[0])

    def values(self, places: Sequence[Place], scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """scores (..., n), costs (..., n, 4) as COSTS, NaN: not known -> (..., n)."""
        known = [self.reference(place) for place in places]
        gain = (scores - np.array([one.score for one in known])) / self.score_scale
        ratios = np.nan_to_num(np.log(costs / _rows(known)))
        found: np.ndarray = self.weights.score * gain - ratios @ self.weights.costs
        return found

    def reference(self, place: Place) -> Outcome:
        """Raises UsageError for a place that has none."""
        if place not in self.references:
            raise UsageError(
                f"the goal has no reference for {place.id}",
                hint="measure the reference design on every board of the search",
            )
        return self.references[place]

    def excess(self, costs: np.ndarray) -> np.ndarray:
        """costs (..., n, 4) -> (..., n, 4) ln(cost / limit); 0: not limited or not known."""
        limits = np.array([getattr(self.limits, name) or np.nan for name in COSTS])
        found: np.ndarray = np.nan_to_num(np.log(costs / limits))
        return found

    def keeps(self, outcome: Outcome) -> bool:
        """Whether the outcome keeps every limit."""
        return bool((self.excess(costs([outcome])) <= 0).all())


def costs(outcomes: Sequence[Outcome]) -> np.ndarray:
    """(n, 4) as COSTS, NaN where a place gave none."""
    return _rows(outcomes)


def _rows(outcomes: Sequence[Outcome]) -> np.ndarray:
    rows = [[getattr(one, name) for name in COSTS] for one in outcomes]
    return np.array(rows, dtype=float).reshape(len(outcomes), len(COSTS))  # None becomes NaN
