"""Hardkernel's SmartPower 3: a supply that writes what its two outputs give, line by line.

A line has 81 bytes: the meter's milliseconds; mV, mA, mW and on/off of the input; the same and
interrupts of each output; two checksums of what stands before them (two's complement of the
sum, exclusive or). The interval, 5 ms to 1 s, and the baud rate are set on the meter. The input
contains the outputs and the supply's own losses, so the outputs that are on are added up.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Optional

from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.clocks import Offset
from edgetran_daemon.sensors.contract import BOARD, Contract, mean_bandwidth_hz
from edgetran_daemon.sensors.serial_port import Line, open_port, unusable

if TYPE_CHECKING:
    from serial import Serial

BAUD = 115200
INTERVALS_S = (0.005, 0.010, 0.050, 0.100, 0.500, 1.0)  # that can be set on it
INTERVAL_S = 0.010  # as delivered
REMEMBERED = 9  # lines, for the interval that is set
FIELDS = 17
CHECKED = len("0000815169,15296,0036,00550,0,00000,0000,00000,0,00,00000,0000,00000,0,00,")
MILLI = 1e-3
LARGEST_BYTES = 4096  # without an end of line: something else speaks there
SLOWEST_S = 2.0


@dataclass(frozen=True)
class Sample:
    stamp_s: float  # of the meter's clock
    power_w: float
    outputs: int  # that are on


class SmartPower3(PowerSensor):
    name = "smartpower3"
    needs_set_up = True
    streams = True

    def __init__(self, line: Optional[Line], clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._line = line
        self._serial: Optional[Serial] = None
        self._buffer = b""
        self._offset = Offset()
        self._last: Optional[Sample] = None
        self._interval_s = INTERVAL_S
        self._steps_s: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def contract(self) -> Contract:
        return Contract(
            scope=BOARD,
            covers="the supply's outputs that are on, at its terminals",
            rate_hz=1 / self._interval_s,
            bandwidth_hz=mean_bandwidth_hz(self._interval_s),
            clock="the meter's, moved by the fastest line of the last minute",
            overhead=f"a line of 81 bytes every {self._interval_s * 1e3:.0f} ms",
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
        self._buffer, self._offset, self._last = b"", Offset(), None

    def _close(self) -> None:
        if self._serial is not None:
            self._serial.close()
            self._serial = None

    def _read(self) -> Optional[Reading]:
        if self._serial is None:
            self._open()
        assert self._serial is not None
        if b"\n" not in self._buffer:
            self._buffer += received(self._serial)
        arrived_s = self._clock()
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            if len(line) > LARGEST_BYTES:
                raise SensorFault("no SmartPower 3 speaks there, or at another baud rate")
            return None
        self._buffer = rest
        sample = parsed(line)
        if sample is None:
            return None  # half a line, as the first one often is, or spoilt on its way
        return self._reading(sample, arrived_s)

    def _reading(self, sample: Sample, arrived_s: float) -> Optional[Reading]:
        last, self._last = self._last, sample
        if not sample.outputs:
            raise SensorFault("both outputs are off: nothing is measured")
        if last is not None and last.stamp_s == sample.stamp_s:
            return None  # the same line again
        if last is not None and 0 < sample.stamp_s - last.stamp_s < SLOWEST_S:
            self._steps_s.append(sample.stamp_s - last.stamp_s)
            usual_s = statistics.median(self._steps_s)
            self._interval_s = min(INTERVALS_S, key=lambda one: abs(math.log(usual_s / one)))
        at_s = self._offset.local_s(sample.stamp_s, arrived_s)
        return Reading(at_s, sample.power_w, rails=sample.outputs)


def received(port: Serial) -> bytes:
    """What has come, or the first byte to come, for WAIT_S at most. Raises SensorFault."""
    import serial

    try:
        return bytes(port.read(max(1, port.in_waiting)))
    except (serial.SerialException, OSError) as exc:
        raise SensorFault(f"{port.port} is gone: {exc}") from exc


def parsed(line: bytes) -> Optional[Sample]:
    """None when the line is not whole."""
    text = line.rstrip(b"\r\n")
    parts = text.split(b",")
    if len(parts) != FIELDS:
        return None
    checked = text[:CHECKED]
    try:
        sums = int(parts[15], 16), int(parts[16], 16)
        if sums != (-sum(checked) & 0xFF, reduce(lambda a, b: a ^ b, checked, 0)):
            return None
        numbers = [int(part) for part in parts[:15]]
    except ValueError:
        return None
    on = [channel for channel in (5, 10) if numbers[channel + 3]]
    power_w = sum(numbers[channel + 2] for channel in on) * MILLI
    return Sample(numbers[0] * MILLI, power_w, len(on))
