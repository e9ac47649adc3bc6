"""Where power sensors are that nobody can find by looking, as the user's settings say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from edgetran_protos.errors import UsageError

from edgetran_daemon.sensors import smartpower3, um
from edgetran_daemon.sensors.ina import ADDRESSES, Wiring
from edgetran_daemon.sensors.serial_port import Line

AUTO, NONE = "auto", "none"
NAMES = (
    *("ina219", "ina226", "ina260", "smartpower3", "um", "remote", "ina3221"),
    *("rapl", "powermetrics", "nvml"),
)
METERS = {"smartpower3": smartpower3.BAUD, "um": um.BAUD}
CHIPS = ("ina219", "ina226", "ina260")
LARGEST_OHM = 10.0


@dataclass(frozen=True)
class Places:
    """Empty or None: the user named none."""

    use: str = AUTO  # or NONE, or one of NAMES
    chip: str = ""  # of CHIPS
    wiring: Optional[Wiring] = None
    meter: str = ""  # of METERS
    line: Optional[Line] = None
    remote: str = ""  # address of a daemon
    rails: str = ""  # of an INA3221, that add up


NOWHERE = Places()


def parse_places(values: Mapping[str, Any]) -> Places:
    """Of the settings. Raises UsageError."""
    chip, wiring = parse_chip(values["i2c_sensor"])
    meter, line = parse_meter(values["serial_meter"])
    return Places(
        use=values["power_sensor"],
        chip=chip,
        wiring=wiring,
        meter=meter,
        line=line,
        remote=values["remote_sensor"],
        rails=values["power_rail"],
    )


def parse_meter(text: str) -> tuple[str, Optional[Line]]:
    """Of "um:/dev/rfcomm0" (meter, port, perhaps its baud rate). Raises UsageError."""
    if not text:
        return "", None
    meter, _, place = text.partition(":")
    port, _, baud = place.partition(":")
    if meter.lower() not in METERS or not port or not (baud or "1").isdecimal():
        raise UsageError(
            f"serial_meter {text!r} is not METER:PORT[:BAUD]",
            hint=f"METER is one of {', '.join(METERS)}, e.g. smartpower3:/dev/ttyUSB0",
        )
    return meter.lower(), Line(port, int(baud) if baud else METERS[meter.lower()])


def parse_chip(text: str) -> tuple[str, Optional[Wiring]]:
    """Of "ina226:1:0x40:0.01" (chip, bus, address, ohms of its shunt). Raises UsageError."""
    if not text:
        return "", None
    chip, *numbers = text.lower().split(":")
    try:
        if chip not in CHIPS:
            raise ValueError(f"{chip!r} is none of {', '.join(CHIPS)}")
        return chip, _wiring(chip, numbers)
    except ValueError as exc:
        raise UsageError(
            f"i2c_sensor {text!r}: {exc}", hint="CHIP:BUS:ADDRESS[:OHM], e.g. ina226:1:0x40:0.01"
        ) from None


def _wiring(chip: str, numbers: list[str]) -> Wiring:
    if not 2 <= len(numbers) <= 3:
        raise ValueError("a bus and an address have to follow, the shunt may")
    bus, address = int(numbers[0]), int(numbers[1], 0)
    if bus < 0 or address not in ADDRESSES:
        raise ValueError("addresses go from 0x40 to 0x4f")
    if len(numbers) == 2:
        return Wiring(bus, address)
    if chip == "ina260":
        raise ValueError("an INA260 has its shunt inside")
    shunt_ohm = float(numbers[2])
    if not 0 < shunt_ohm <= LARGEST_OHM:
        raise ValueError(f"a shunt has more than 0 and at most {LARGEST_OHM:.0f} ohms")
    return Wiring(bus, address, shunt_ohm)
