"""INA260: its 2 mOhm shunt is inside, so nothing is calibrated.

Data sheet SBOS656: current 1.25 mA a step, bus 1.25 mV, power 10 mW without a sign; good for
15 A. Register 1 is current here and shunt voltage on the INA226, so the die is asked first.
"""

from __future__ import annotations

from typing import Optional

from edgetran_daemon.sensors.base import CLIPPED, SensorFault
from edgetran_daemon.sensors.i2c import Registers
from edgetran_daemon.sensors.ina import (
    CONFIGURATION,
    CONVERSION_READY,
    MASK,
    OVERFLOW,
    POWER,
    InaChip,
    identified,
)

CURRENT = 1
CURRENT_STEP_A, POWER_STEP_W = 1.25e-3, 10e-3
LARGEST_A = 15.0
FIXED, AVERAGE_16, TIME_1100_US, CONTINUOUS = 6 << 12, 2 << 9, 4, 7
SETTINGS = FIXED | AVERAGE_16 | TIME_1100_US << 6 | TIME_1100_US << 3 | CONTINUOUS


class Ina260(InaChip):
    name = "ina260"
    settings = SETTINGS
    window_s = 16 * 2 * 1.1e-3
    words = 3

    def _mistaken(self, chip: Registers) -> str:
        return identified(chip, "INA260")

    def _set_up(self, chip: Registers) -> None:
        chip.write(CONFIGURATION, SETTINGS)

    def _power_w(self, chip: Registers) -> Optional[float]:
        flags = chip.read(MASK)
        if not flags & CONVERSION_READY:
            return None
        current_a = chip.read_signed(CURRENT) * CURRENT_STEP_A
        power_w = chip.read(POWER) * POWER_STEP_W
        if flags & OVERFLOW or abs(current_a) >= LARGEST_A:
            raise SensorFault(CLIPPED)
        return -power_w if current_a < 0 else power_w
