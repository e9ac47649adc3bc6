"""A meter on a serial port: /dev/ttyUSB0, or /dev/rfcomm0 for those that speak Bluetooth."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgetran_daemon.sensors.base import SensorFault

if TYPE_CHECKING:
    from serial import Serial

WAIT_S = 0.2  # for the rest of a message


@dataclass(frozen=True)
class Line:
    port: str
    baud: int


def open_port(line: Line) -> Serial:
    """Ours alone: two readers would each get half of the bytes. Raises SensorFault."""
    import serial

    try:
        return serial.Serial(line.port, line.baud, timeout=WAIT_S, exclusive=True)
    except serial.SerialException as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        raise SensorFault(f"{line.port} cannot be opened: {reason}") from exc


def unusable(line: Line) -> str:
    """Why; empty when it can be opened, which is not tried: that resets some meters."""
    if importlib.util.find_spec("serial") is None:
        extra = f"{sys.executable} -m pip install 'edgetran-daemon[serial]'"
        return f"pyserial is missing: {extra}"
    if not os.path.exists(line.port):
        return f"{line.port} is not there: is the meter plugged in?"
    if not os.access(line.port, os.R_OK | os.W_OK):
        return f"{line.port} may not be used: sudo usermod -aG dialout $USER, then log in again"
    return ""
