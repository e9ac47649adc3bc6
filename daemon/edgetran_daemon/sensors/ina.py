"""What the INA219, INA226 and INA260 have in common: power at a shunt, converted chip by chip.

A chip converts on its own clock and says when a result is new; a look that comes too early sees
the old words and is no reading. A shunt voltage at the end of its range, or an overflow of the
chip's arithmetic, is a fault: the true value is larger, by nobody knows how much.
"""

from __future__ import annotations

import abc
import math
import time
from dataclasses import dataclass
from typing import ClassVar, Optional

from edgetran_daemon.sensors import i2c
from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import BOARD, Contract, mean_bandwidth_hz
from edgetran_daemon.sensors.i2c import OpenBus, Registers, open_bus

CONFIGURATION, SHUNT, BUS, POWER, CURRENT, CALIBRATION, MASK = range(7)  # INA260: SHUNT is current
MAKER, DIE = 0xFE, 0xFF
TEXAS_INSTRUMENTS = 0x5449
DIES = {0x2260: "INA226", 0x2270: "INA260", 0x3220: "INA3221"}
REVISION = 0x000F
CONVERSION_READY, OVERFLOW = 1 << 3, 1 << 2  # of MASK
LOST_SETTINGS = "the chip had lost its settings: is its supply stable?"
CHECKED_READINGS = 32
ADDRESSES = range(0x40, 0x50)
WORD_S = 47e-5  # 47 bits: address, register, address again, two bytes, start, stop


@dataclass(frozen=True)
class Wiring:
    """Where a chip is, which nobody can find out by looking."""

    bus: int
    address: int
    shunt_ohm: float = 0.1  # of the common breakouts


class InaChip(PowerSensor):
    """`wiring` None: the user has not said that there is one."""

    needs_set_up = True
    window_s: ClassVar[float]  # of one result, as `_set_up` asks for it
    settings: ClassVar[int]  # of the configuration register
    words: ClassVar[int]  # over the bus, a reading

    def __init__(
        self,
        wiring: Optional[Wiring],
        open_bus: OpenBus = open_bus,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self.wiring = wiring
        self._open_bus = open_bus
        self._chip: Optional[Registers] = None
        self._unchecked = 0  # readings since its settings were looked at

    @property
    def contract(self) -> Contract:
        return Contract(
            scope=BOARD,
            covers="what flows through the shunt, as it is wired",
            rate_hz=1 / self.window_s,
            bandwidth_hz=mean_bandwidth_hz(self.window_s),
            clock="this machine's, less half of the chip's averaging window",
            overhead=f"{self.words} words over I2C, {self.words * WORD_S * 1e3:.1f} ms at 100 kHz",
        )

    @property
    def set_up(self) -> bool:
        return self.wiring is not None

    def unavailable(self) -> str:
        if self.wiring is None:
            return f"not set up: i2c_sensor = {self.name}:BUS:ADDRESS[:OHM] says where one is"
        if self._open_bus is open_bus and i2c.missing():
            return i2c.missing()
        place = f"/dev/i2c-{self.wiring.bus}, {self.wiring.address:#x}"
        try:
            with self._hardware:
                chip = self._chip or Registers(self._open_bus(self.wiring.bus), self.wiring.address)
                try:
                    wrong = self._mistaken(chip)
                finally:
                    if chip is not self._chip:
                        chip.close()
        except OSError as exc:
            return f"{place}: {i2c.explained(exc)}"
        return f"{place}: {wrong}" if wrong else ""

    def _open(self) -> None:
        if self.wiring is None:
            raise SensorFault(self.unavailable())
        with self._hardware:
            chip = Registers(self._open_bus(self.wiring.bus), self.wiring.address)
            try:
                if wrong := self._mistaken(chip):
                    raise SensorFault(wrong)
                self._set_up(chip)
            except OSError:
                chip.close()
                raise
            self._chip = chip

    def _close(self) -> None:
        with self._hardware:
            if self._chip is not None:
                self._chip.close()
                self._chip = None

    def _read(self) -> Optional[Reading]:
        if self._chip is None:
            self._open()
        assert self._chip is not None
        if self._unchecked == 0:
            self._check_settings(self._chip)
        power_w = self._power_w(self._chip)
        if power_w is None:
            return None
        self._unchecked = (self._unchecked + 1) % CHECKED_READINGS
        return Reading(self._clock() - self.window_s / 2, power_w)

    def _check_settings(self, chip: Registers) -> None:
        """A dip of its supply resets a chip, and other programs may set it up, too."""
        self._unchecked = 1
        if chip.read(CONFIGURATION) != self.settings:
            self._set_up(chip)
            raise SensorFault(LOST_SETTINGS)

    @abc.abstractmethod
    def _mistaken(self, chip: Registers) -> str:
        """Which other chip this is; empty when it may be the right one."""

    @abc.abstractmethod
    def _set_up(self, chip: Registers) -> None: ...

    @abc.abstractmethod
    def _power_w(self, chip: Registers) -> Optional[float]:
        """None: no new result. Raises SensorFault."""


def identified(chip: Registers, expected: str) -> str:
    """What is wrong about a chip that can be asked for its name."""
    maker, die = chip.read(MAKER), chip.read(DIE) & ~REVISION
    if maker != TEXAS_INSTRUMENTS or die not in DIES:
        return f"it is no {expected}: it calls itself {maker:04X} {die:04X}"
    return "" if DIES[die] == expected else f"it is an {DIES[die]}, no {expected}"


def current_lsb_a(full_scale_a: float, places: int = 15) -> float:
    """The roundest step (1, 2, 2.5, 5 times a power of ten) that reaches full scale in 15 bits."""
    least = full_scale_a / 2**places
    decade = 10.0 ** math.floor(math.log10(least))
    steps = (factor * decade for factor in (1, 2, 2.5, 5, 10))
    return next(step for step in steps if step >= least * (1 - 1e-12))


def calibration(constant: float, lsb_a: float, shunt_ohm: float) -> int:
    """The calibration register's word, cut off as the data sheets say."""
    return math.floor(constant / (lsb_a * shunt_ohm) * (1 + 1e-12))
