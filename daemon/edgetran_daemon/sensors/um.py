"""RuiDeng's USB meters UM24C, UM25C and UM34C over Bluetooth's serial port.

The byte F0 asks, 130 bytes answer, the high byte first: 0 the model, 2 volts, 4 amperes,
6 milliwatts (four bytes). They are renewed twice a second, so short work is not seen.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Optional

from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import BOARD, Contract, mean_bandwidth_hz
from edgetran_daemon.sensors.serial_port import Line, open_port, unusable

if TYPE_CHECKING:
    from serial import Serial

BAUD = 9600
ASK, ANSWER_BYTES = b"\xf0", 130
HEAD = struct.Struct(">HHHI")  # model, volts, amperes, milliwatts
FINER = {0x0963: 1, 0x09C9: 10, 0x0D4C: 1}  # UM24C, UM25C, UM34C: of 10 mV and 1 mA
PERIOD_S = 0.5
NEAR = 0.02  # watts are volts times amperes to such a share, and to NEAR_W
NEAR_W = 0.02
MILLI = 1e-3


class UmMeter(PowerSensor):
    name = "um"
    needs_set_up = True

    def __init__(self, line: Optional[Line], clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._line = line
        self._serial: Optional[Serial] = None

    @property
    def contract(self) -> Contract:
        return Contract(
            scope=BOARD,
            covers="what flows through the USB plug",
            rate_hz=1 / PERIOD_S,
            bandwidth_hz=mean_bandwidth_hz(PERIOD_S),
            clock="this machine's, when the answer has come, less half a period",
            overhead="131 bytes over Bluetooth, twice a second",
        )

    @property
    def set_up(self) -> bool:
        return self._line is not None

    def unavailable(self) -> str:
        if self._line is None:
            return f"not set up: serial_meter = {self.name}:PORT[:BAUD] says where one is"
        return unusable(self._line)

    def _open(self) -> None:
        if self._line is None:
            raise SensorFault(self.unavailable())
        self._serial = open_port(self._line)

    def _close(self) -> None:
        if self._serial is not None:
            self._serial.close()
            self._serial = None

    def _read(self) -> Optional[Reading]:
        import serial

        if self._serial is None:
            self._open()
        assert self._serial is not None
        try:
            self._serial.reset_input_buffer()
            self._serial.write(ASK)
            answer = bytes(self._serial.read(ANSWER_BYTES))
        except (serial.SerialException, OSError) as exc:
            self._close()
            raise SensorFault(f"the meter is gone: {exc}") from exc
        return Reading(self._clock() - PERIOD_S / 2, power_w(answer))


def power_w(answer: bytes) -> float:
    """Raises SensorFault when it is no answer of such a meter."""
    if len(answer) != ANSWER_BYTES:
        raise SensorFault(f"the meter sent {len(answer)} bytes of {ANSWER_BYTES}")
    model, volts, amperes, milliwatts = HEAD.unpack_from(answer)
    if model not in FINER:
        raise SensorFault(f"an unknown meter answers: {model:04X}")
    product_w = volts * 0.01 * amperes * MILLI / FINER[model] ** 2
    if abs(product_w - milliwatts * MILLI) > NEAR * product_w + NEAR_W:
        raise SensorFault("volts, amperes and watts do not agree")
    return float(milliwatts * MILLI)
