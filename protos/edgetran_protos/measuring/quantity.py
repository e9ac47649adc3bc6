"""A figure with what is known of its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Quantity:
    """A value with the bounds of its 95 % interval, if any are known."""

    value: float
    low: Optional[float] = None
    high: Optional[float] = None

    @property
    def half_width(self) -> float:
        """Of the interval, as a share of the value; infinite when it is not known."""
        if self.low is None or self.high is None or not self.value:
            return float("inf")
        return (self.high - self.low) / 2 / abs(self.value)
