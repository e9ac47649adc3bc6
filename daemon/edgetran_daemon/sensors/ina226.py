"""INA226: 16 bits, calibrated with 0.00512 (not the INA219's 0.04096), identified by its die.

Data sheet SBOS547: shunt 2.5 uV a step up to 81.92 mV, bus 1.25 mV, CAL = 0.00512 / (LSB R),
power 25 current steps and without a sign. Reading the mask register takes CVRF back.
"""

from __future__ import annotations

from typing import Optional

from edgetran_daemon.sensors.base import CLIPPED, SensorFault
from edgetran_daemon.sensors.i2c import Registers
from edgetran_daemon.sensors.ina import (
    CALIBRATION,
    CONFIGURATION,
    CONVERSION_READY,
    CURRENT,
    LOST_SETTINGS,
    MASK,
    OVERFLOW,
    POWER,
    SHUNT,
    InaChip,
    calibration,
    current_lsb_a,
    identified,
)

CONSTANT = 0.00512
POWER_STEPS = 25
RANGE_V, RANGE_WORD = 0.08192, 0x7FFF
FIXED, AVERAGE_16, TIME_1100_US, CONTINUOUS = 4 << 12, 2 << 9, 4, 7
SETTINGS = FIXED | AVERAGE_16 | TIME_1100_US << 6 | TIME_1100_US << 3 | CONTINUOUS


class Ina226(InaChip):
    name = "ina226"
    settings = SETTINGS
    window_s = 16 * 2 * 1.1e-3
    words = 4

    def _mistaken(self, chip: Registers) -> str:
        return identified(chip, "INA226")

    def _set_up(self, chip: Registers) -> None:
        chip.write(CONFIGURATION, SETTINGS)
        chip.write(CALIBRATION, self._calibration)

    def _power_w(self, chip: Registers) -> Optional[float]:
        flags = chip.read(MASK)
        if not flags & CONVERSION_READY:
            return None
        shunt, current = chip.read_signed(SHUNT), chip.read_signed(CURRENT)
        power = chip.read(POWER)
        if flags & OVERFLOW or abs(shunt) >= RANGE_WORD:
            raise SensorFault(CLIPPED)
        if not current and chip.read(CALIBRATION) != self._calibration:
            self._set_up(chip)
            raise SensorFault(LOST_SETTINGS)
        power_w = power * POWER_STEPS * self._lsb_a
        return -power_w if current < 0 else power_w

    @property
    def _lsb_a(self) -> float:
        assert self.wiring is not None
        return current_lsb_a(RANGE_V / self.wiring.shunt_ohm)

    @property
    def _calibration(self) -> int:
        assert self.wiring is not None
        return calibration(CONSTANT, self._lsb_a, self.wiring.shunt_ohm)
