"""INA3221 of a Jetson, through what the kernel shows of it.

JetPack 4: the folder of driver ina3221x, with rail_name_N and in_powerN_input in milliwatts.
JetPack 5 and later: hwmon, with inN_label, inN_input in millivolts, currN_input in milliamperes,
and no power. Rails are found by their names, since their order differs between images.

One rail of most boards is the input, and the others are parts of it: adding them all would
count twice. Where no rail is known to be the input, the user names those that add up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgetran_daemon.sensors.base import CLIPPED, Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import BOARD, RAIL, Contract

ROOT = Path("/sys")
IIO = "bus/i2c/drivers/ina3221x/*-*/iio*device*"
HWMON = "bus/i2c/drivers/ina3221/*-*/hwmon/hwmon*"
INPUTS = ("POM_5V_IN", "VDD_IN")  # the whole board (Nano), the whole module (later ones)
MILLI = 1e-3
FULL_SCALE_UV = 163_800.0
LOOK_HZ = 20.0  # a look is up to three transactions of the kernel's, a millisecond and more
UNUSED = ("", "NC")


@dataclass(frozen=True)
class Rail:
    """`power`: the file in milliwatts; else millivolts and milliamperes are multiplied."""

    name: str
    power: Optional[Path]
    voltage: Optional[Path] = None
    current: Optional[Path] = None
    largest_ma: Optional[float] = None

    def power_w(self) -> float:
        if self.power is not None:
            return _number(self.power) * MILLI
        assert self.voltage is not None
        assert self.current is not None
        current_ma = _number(self.current)
        if self.largest_ma is not None and abs(current_ma) >= self.largest_ma:
            raise SensorFault(f"{CLIPPED} on {self.name}")
        return _number(self.voltage) * MILLI * current_ma * MILLI


class Ina3221(PowerSensor):
    """`wanted`: names of rails that add up, "A+B"; empty: the board's input."""

    name = "ina3221"

    def __init__(self, wanted: str = "", root: Path = ROOT, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._wanted = tuple(name.strip() for name in wanted.split("+") if name.strip())
        self._root = root
        self._rails = {rail.name: rail for rail in (*_iio(root), *_hwmon(root))}
        self._used = [self._rails[name] for name in self._names() if name in self._rails]

    @property
    def contract(self) -> Contract:
        names = " + ".join(rail.name for rail in self._used)
        whole = len(self._used) == 1 and self._used[0].name in INPUTS
        return Contract(
            scope=BOARD if whole else RAIL,
            covers=f"rail {names}" if names else "the board's input rail",
            rate_hz=LOOK_HZ,
            bandwidth_hz=LOOK_HZ / 2,  # the chip hardly averages: shorter bursts alias
            clock="this machine's, when the kernel has read the chip",
            overhead="one to three small files a rail, each a transaction over I2C",
        )

    def unavailable(self) -> str:
        if not self._rails:
            return "this machine shows no INA3221"
        known = ", ".join(self._rails)
        if absent := [name for name in self._wanted if name not in self._rails]:
            return f"there is no rail {absent[0]}; there are {known}"
        whole = [name for name in self._wanted if name in INPUTS]
        if whole and len(self._wanted) > 1:
            return f"{whole[0]} contains the other rails: they would count twice"
        if not self._used:
            return f"none of the rails {known} is known to be the input: power_rail names them"
        try:
            for rail in self._used:
                rail.power_w()
        except SensorFault:
            return ""
        except (OSError, ValueError) as exc:
            return f"rail {rail.name} cannot be read: {getattr(exc, 'strerror', '') or exc}"
        return ""

    def _read(self) -> Reading:
        if not self._used:
            raise SensorFault(self.unavailable())
        begun_s = self._clock()
        power_w = sum(rail.power_w() for rail in self._used)
        return Reading((begun_s + self._clock()) / 2, power_w, rails=len(self._used))

    def _names(self) -> tuple[str, ...]:
        return self._wanted or tuple(name for name in INPUTS if name in self._rails)[:1]


def _iio(root: Path) -> list[Rail]:
    return [
        Rail(name, label.parent / f"in_power{label.name[-1]}_input")
        for folder in sorted(root.glob(IIO))
        for label in sorted(folder.glob("rail_name_[0-2]"))
        if (name := label.read_text().strip()) not in UNUSED
    ]


def _hwmon(root: Path) -> list[Rail]:
    found = []
    for folder in sorted(root.glob(HWMON)):
        for number in (1, 2, 3):  # in4 to in6 are shunts, in7 and curr4 are sums
            label = folder / f"in{number}_label"
            if not label.is_file() or label.read_text().strip() in UNUSED:
                continue
            shunt = folder / f"shunt{number}_resistor"
            largest_ma = FULL_SCALE_UV / _number(shunt) * 1e3 if shunt.is_file() else None
            voltage, current = folder / f"in{number}_input", folder / f"curr{number}_input"
            found.append(Rail(label.read_text().strip(), None, voltage, current, largest_ma))
    return found


def _number(file: Path) -> int:
    return int(file.read_text())
