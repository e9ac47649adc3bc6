"""Power sensors by name; one file each."""

from __future__ import annotations

from edgetran_daemon.sensors.base import PowerSensor
from edgetran_daemon.sensors.rapl import Rapl

__all__ = ["PowerSensor", "Rapl", "known_sensors"]


def known_sensors() -> tuple[PowerSensor, ...]:
    """All that edgetran knows, usable or not."""
    return (Rapl(),)
