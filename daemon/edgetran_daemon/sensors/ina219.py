"""INA219: bus and shunt converted one after the other, calibrated; it cannot be identified.

Data sheet SBOS448: shunt 10 uV a step whatever the gain, bus 4 mV, CAL = 0.04096 / (LSB R),
power 20 current steps. CNVR says that a result is new until the power register is read.
"""

from __future__ import annotations

from typing import Optional

from edgetran_daemon.sensors.base import CLIPPED, SensorFault
from edgetran_daemon.sensors.i2c import Registers
from edgetran_daemon.sensors.ina import (
    BUS,
    CALIBRATION,
    CONFIGURATION,
    CURRENT,
    DIE,
    DIES,
    LOST_SETTINGS,
    MAKER,
    POWER,
    REVISION,
    SHUNT,
    TEXAS_INSTRUMENTS,
    InaChip,
    calibration,
    current_lsb_a,
)

CONSTANT = 0.04096
POWER_STEPS = 20
RANGE_V, RANGE_WORD = 0.320, 32000  # gain 1/8
RANGE_32_V, GAIN_8, CONTINUOUS = 1 << 13, 3 << 11, 7
AVERAGE_16 = 12  # of BADC and SADC: 16 samples, 8.51 ms each for bus and shunt
NEW, OVERFLOW = 1 << 1, 1 << 0  # of the bus register
SETTINGS = RANGE_32_V | GAIN_8 | AVERAGE_16 << 7 | AVERAGE_16 << 3 | CONTINUOUS


class Ina219(InaChip):
    name = "ina219"
    settings = SETTINGS
    window_s = 2 * 8.51e-3
    words = 4

    def _mistaken(self, chip: Registers) -> str:
        chip.read(CONFIGURATION)  # that somebody answers
        die = chip.read(DIE) & ~REVISION
        if chip.read(MAKER) == TEXAS_INSTRUMENTS and die in DIES:
            return f"it is an {DIES[die]}, no INA219"
        return ""

    def _set_up(self, chip: Registers) -> None:
        chip.write(CONFIGURATION, SETTINGS)
        chip.write(CALIBRATION, self._calibration)

    def _power_w(self, chip: Registers) -> Optional[float]:
        bus = chip.read(BUS)
        if not bus & NEW:
            return None
        shunt, current = chip.read_signed(SHUNT), chip.read_signed(CURRENT)
        power = chip.read(POWER)  # last: it takes CNVR back
        if bus & OVERFLOW or abs(shunt) >= RANGE_WORD:
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
        return calibration(CONSTANT, self._lsb_a, self.wiring.shunt_ohm) & ~1  # bit 0 is no bit
