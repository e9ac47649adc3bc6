"""What a model expects of one inference: the one form that all calibrations answer in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Prediction:
    """Each figure is true within its error, a share; those left out are as latency's."""

    latency_s: float  # median of one inference (the whole batch)
    energy_j: Optional[float]  # gross, of the scope of the unit's power figures; None: not known
    peak_power_w: Optional[float]
    relative_error: float = 0.0
    energy_error: Optional[float] = None
    peak_error: Optional[float] = None
    in_ratio: bool = False  # value / (1 + error) to value * (1 + error), else value * (1 -+ error)

    @property
    def errors(self) -> tuple[float, float, float]:
        """Of latency, energy and peak."""
        latency = self.relative_error
        return (
            latency,
            latency if self.energy_error is None else self.energy_error,
            latency if self.peak_error is None else self.peak_error,
        )

    def interval(self, value: float, error: float) -> tuple[float, float]:
        low = value / (1 + error) if self.in_ratio else value * (1 - error)
        return low, value * (1 + error)
