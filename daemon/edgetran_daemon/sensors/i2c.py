"""Registers of a chip on an I2C bus: 16 bits, the high byte first on the wire.

SMBus words have the low byte first, so each is swapped. Only word calls are used, since the
adapters of some boards (and i2c-stub) have nothing else.
"""

from __future__ import annotations

import errno
import importlib.util
import sys
from collections.abc import Callable
from typing import Protocol

HINTS = {  # what a refusal of the system means here
    errno.ENOENT: "there is no such bus; is I2C switched on?",
    errno.EACCES: "this user may not use it: sudo usermod -aG i2c $USER, then log in again",
    errno.EREMOTEIO: "nothing answers there: wiring, supply or address are wrong",
    errno.ENXIO: "nothing answers there: wiring, supply or address are wrong",
    errno.ENODEV: "nothing answers there: wiring, supply or address are wrong",
    errno.ETIMEDOUT: "the bus hangs: check the wiring, then cut the supply once",
    errno.EBUSY: "a driver of the kernel owns the chip: unload it (sudo rmmod ina2xx)",
}


class Bus(Protocol):
    """What is used of smbus2.SMBus."""

    def read_word_data(self, i2c_addr: int, register: int) -> int: ...

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None: ...

    def close(self) -> None: ...


OpenBus = Callable[[int], Bus]


def open_bus(number: int) -> Bus:
    """/dev/i2c-NUMBER. Raises OSError."""
    import smbus2

    bus: Bus = smbus2.SMBus(number)
    return bus


def missing() -> str:
    """What is not installed; empty when nothing is missing."""
    if importlib.util.find_spec("smbus2") is None:
        return f"smbus2 is missing: {sys.executable} -m pip install 'edgetran-daemon[i2c]'"
    return ""


def explained(exc: OSError) -> str:
    return HINTS.get(exc.errno or 0, exc.strerror or str(exc))


class Registers:
    """Of one chip."""

    def __init__(self, bus: Bus, address: int) -> None:
        self._bus = bus
        self._address = address

    def read(self, register: int) -> int:
        """0..65535."""
        return swapped(self._bus.read_word_data(self._address, register))

    def read_signed(self, register: int) -> int:
        return signed(self.read(register))

    def write(self, register: int, word: int) -> None:
        self._bus.write_word_data(self._address, register, swapped(word))

    def close(self) -> None:
        self._bus.close()


def swapped(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8


def signed(word: int) -> int:
    """Of two's complement."""
    return word - 0x10000 if word & 0x8000 else word
