"""Power sensors by name; one file each."""

from __future__ import annotations

from typing import Optional

from edgetran_daemon.sensors.base import PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import Contract
from edgetran_daemon.sensors.ina import Wiring
from edgetran_daemon.sensors.ina219 import Ina219
from edgetran_daemon.sensors.ina226 import Ina226
from edgetran_daemon.sensors.ina260 import Ina260
from edgetran_daemon.sensors.places import AUTO, NONE, NOWHERE, Places
from edgetran_daemon.sensors.rapl import Rapl

__all__ = [
    "Contract",
    "Ina219",
    "Ina226",
    "Ina260",
    "Places",
    "PowerSensor",
    "Rapl",
    "Reading",
    "SensorFault",
    "Wiring",
    "chosen",
    "known_sensors",
]


def known_sensors(places: Places = NOWHERE) -> tuple[PowerSensor, ...]:
    """All that edgetran knows, usable or not; those of the whole board come first."""

    def wiring(chip: str) -> Optional[Wiring]:
        return places.wiring if places.chip == chip else None

    return (
        Ina219(wiring("ina219")),
        Ina226(wiring("ina226")),
        Ina260(wiring("ina260")),
        Rapl(),
    )


def chosen(sensors: tuple[PowerSensor, ...], use: str) -> Optional[PowerSensor]:
    """The one that was asked for, whatever its state, or the first that can be read."""
    if use == NONE:
        return None
    if use != AUTO:
        return next(sensor for sensor in sensors if sensor.name == use)
    return next((sensor for sensor in sensors if not sensor.unavailable()), None)
