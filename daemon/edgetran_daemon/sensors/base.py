"""What every power sensor offers."""

from __future__ import annotations

import abc


class PowerSensor(abc.ABC):
    """Counts energy. Without a usable sensor there is no figure, never a guess."""

    name: str
    scope: str  # what it measures, e.g. "whole board"
    rate_hz: float

    @abc.abstractmethod
    def unavailable(self) -> str:
        """Why it cannot be read here; empty when it can."""

    @abc.abstractmethod
    def energy_j(self) -> float:
        """Joules since some fixed moment; never goes back between two near readings."""
