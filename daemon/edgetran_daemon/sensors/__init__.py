"""Power sensors by name; one file each (docs/sensors.md)."""

from __future__ import annotations

from typing import Optional

from edgetran_daemon.sensors.base import PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import CARD, Contract
from edgetran_daemon.sensors.ina import Wiring
from edgetran_daemon.sensors.ina219 import Ina219
from edgetran_daemon.sensors.ina226 import Ina226
from edgetran_daemon.sensors.ina260 import Ina260
from edgetran_daemon.sensors.ina3221 import Ina3221
from edgetran_daemon.sensors.nvml import Nvml
from edgetran_daemon.sensors.places import AUTO, NONE, NOWHERE, Places
from edgetran_daemon.sensors.powermetrics import Powermetrics
from edgetran_daemon.sensors.rapl import Rapl
from edgetran_daemon.sensors.remote import Remote
from edgetran_daemon.sensors.serial_port import Line
from edgetran_daemon.sensors.smartpower3 import SmartPower3
from edgetran_daemon.sensors.um import UmMeter

__all__ = [
    "Contract",
    "Ina219",
    "Ina226",
    "Ina260",
    "Ina3221",
    "Line",
    "Nvml",
    "Places",
    "PowerSensor",
    "Powermetrics",
    "Rapl",
    "Reading",
    "Remote",
    "SensorFault",
    "SmartPower3",
    "UmMeter",
    "Wiring",
    "chosen",
    "known_sensors",
]


def known_sensors(places: Places = NOWHERE) -> tuple[PowerSensor, ...]:
    """All that edgetran knows, usable or not; those of the whole board come first."""

    def wiring(chip: str) -> Optional[Wiring]:
        return places.wiring if places.chip == chip else None

    def line(meter: str) -> Optional[Line]:
        return places.line if places.meter == meter else None

    return (
        Ina219(wiring("ina219")),
        Ina226(wiring("ina226")),
        Ina260(wiring("ina260")),
        SmartPower3(line("smartpower3")),
        UmMeter(line("um")),
        Remote(places.remote),
        Ina3221(places.rails),
        Rapl(),
        Powermetrics(),
        Nvml(),
    )


def chosen(sensors: tuple[PowerSensor, ...], use: str) -> Optional[PowerSensor]:
    """The one that was asked for, whatever its state, or the first that can be read.

    A graphics card's says nothing of work on the processor: it has to be asked for.
    """
    if use == NONE:
        return None
    if use != AUTO:
        return next(sensor for sensor in sensors if sensor.name == use)
    usable = (sensor for sensor in sensors if sensor.contract.scope != CARD)
    return next((sensor for sensor in usable if not sensor.unavailable()), None)
