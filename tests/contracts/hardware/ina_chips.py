"""INA219, INA226 and INA260 at the level of registers, on a bus that speaks SMBus words.

Written from the data sheets, not from the drivers: a chip converts what flows through it on
its own clock, clips at full scale, computes current and power from its calibration, keeps
read-only registers, and says in its flags what is new. Until a conversion ends, the old words
are read.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Flow:
    """What flows, piece by piece: (from when on, volts of the bus, amperes)."""

    clock: Callable[[], float]
    pieces: list[tuple[float, float, float]] = field(default_factory=lambda: [(0.0, 5.0, 0.0)])

    def set(self, bus_v: float, current_a: float) -> None:
        self.pieces.append((self.clock(), bus_v, current_a))

    def mean(self, from_s: float, until_s: float) -> tuple[float, float]:
        """Volts and amperes."""
        total_s = until_s - from_s
        volts = amperes = 0.0
        ends = [piece[0] for piece in self.pieces[1:]] + [until_s]
        for (begun_s, bus_v, current_a), ended_s in zip(self.pieces, ends):
            inside_s = min(ended_s, until_s) - max(begun_s, from_s)
            if inside_s > 0:
                volts += bus_v * inside_s / total_s
                amperes += current_a * inside_s / total_s
        return volts, amperes


class Chip:
    """Registers behind an address; `flow` None: a test sets the analogue side by hand."""

    reset: ClassVar[dict[int, int]]
    read_only: tuple[int, ...]

    def __init__(self, flow: Flow | None, clock: Callable[[], float], shunt_ohm: float) -> None:
        self.flow, self.clock, self.shunt_ohm = flow, clock, shunt_ohm
        self.power_cycle()

    def power_cycle(self) -> None:
        self.words = dict(self.reset)
        self.ready = False
        self.begun_s = self.clock()

    def read(self, register: int) -> int:
        self._advance()
        word = self.words.get(register, 0) | self._flags(register)
        self._was_read(register)
        return word

    def write(self, register: int, word: int) -> None:
        self._advance()
        if register in self.read_only or register not in self.reset:
            return
        if register == 0 and word & 0x8000:
            self.power_cycle()
            return
        self.words[register] = word & self._mask(register)
        if register == 0:
            self.begun_s, self.ready = self.clock(), False

    def _advance(self) -> None:
        """Ends the conversions that are over; only the last one is still to be seen."""
        if self.flow is None:
            return
        window_s = self.window_s()
        ended = int((self.clock() - self.begun_s) / window_s + 1e-9)
        if ended:
            self.begun_s += ended * window_s
            self.convert(*self.flow.mean(self.begun_s - window_s, self.begun_s))

    def convert(self, bus_v: float, current_a: float) -> None:
        raise NotImplementedError

    def window_s(self) -> float:
        raise NotImplementedError

    def _flags(self, register: int) -> int:
        return 0

    def _was_read(self, register: int) -> None: ...

    def _mask(self, register: int) -> int:
        return 0xFFFF


def clip(value: float, least: int, most: int) -> int:
    return max(least, min(most, round(value)))


class Ina219Chip(Chip):
    reset: ClassVar = {0: 0x399F, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0}
    read_only = (1, 2, 3, 4)
    TIMES_S: ClassVar = {0: 84e-6, 1: 148e-6, 2: 276e-6, 3: 532e-6}
    AVERAGED_S = (532e-6, 1.06e-3, 2.13e-3, 4.26e-3, 8.51e-3, 17.02e-3, 34.05e-3, 68.10e-3)

    def window_s(self) -> float:
        return sum(self._time_s(self.words[0] >> shift & 15) for shift in (3, 7))

    def _time_s(self, code: int) -> float:
        return self.AVERAGED_S[code & 7] if code & 8 else self.TIMES_S[code & 3]

    def convert(self, bus_v: float, current_a: float) -> None:
        full = 4000 << (self.words[0] >> 11 & 3)
        self.words[1] = clip(current_a * self.shunt_ohm / 10e-6, -full, full) & 0xFFFF
        self.words[2] = clip(bus_v / 4e-3, 0, 8000) << 3
        self.compute()
        self.ready = True

    def compute(self) -> None:
        """Current and power from what was converted."""
        shunt = self.words[1] - (self.words[1] >> 15 << 16)
        current = int(shunt * self.words[5] / 4096)
        power = abs(current) * (self.words[2] >> 3) // 5000
        self.overflow = abs(current) > 32767 or power > 65535
        self.words[4], self.words[3] = current & 0xFFFF, power & 0xFFFF

    def _flags(self, register: int) -> int:
        return (self.ready << 1 | getattr(self, "overflow", False)) if register == 2 else 0

    def _was_read(self, register: int) -> None:
        if register == 3:
            self.ready = False

    def _mask(self, register: int) -> int:
        return 0xFFFE if register == 5 else 0xFFFF


class Ina226Chip(Chip):
    reset: ClassVar = dict.fromkeys(range(8), 0) | {0: 0x4127, 0xFE: 0x5449, 0xFF: 0x2260}
    read_only = (1, 2, 3, 4, 0xFE, 0xFF)
    TIMES_S = (140e-6, 204e-6, 332e-6, 588e-6, 1.1e-3, 2.116e-3, 4.156e-3, 8.244e-3)
    COUNTS = (1, 4, 16, 64, 128, 256, 512, 1024)
    overflow = False

    def window_s(self) -> float:
        word = self.words[0]
        times_s = self.TIMES_S[word >> 6 & 7] + self.TIMES_S[word >> 3 & 7]
        return self.COUNTS[word >> 9 & 7] * times_s

    def convert(self, bus_v: float, current_a: float) -> None:
        self.words[1] = clip(current_a * self.shunt_ohm / 2.5e-6, -32768, 32767) & 0xFFFF
        self.words[2] = clip(bus_v / 1.25e-3, 0, 28800)  # 36 V
        self.compute()
        self.ready = True

    def compute(self) -> None:
        shunt = self.words[1] - (self.words[1] >> 15 << 16)
        current = int(shunt * self.words[5] / 2048)
        power = abs(current) * self.words[2] // 20000
        self.overflow = abs(current) > 32767 or power > 65535
        self.words[4], self.words[3] = current & 0xFFFF, power & 0xFFFF

    def _flags(self, register: int) -> int:
        return self.ready << 3 | self.overflow << 2 if register == 6 else 0

    def _was_read(self, register: int) -> None:
        if register == 6:
            self.ready = False

    def _mask(self, register: int) -> int:
        return {5: 0x7FFF, 6: 0xFC03}.get(register, 0xFFFF)


class Ina260Chip(Ina226Chip):
    reset: ClassVar = {0: 0x6127, 1: 0, 2: 0, 3: 0, 6: 0, 7: 0, 0xFE: 0x5449, 0xFF: 0x2270}
    read_only = (1, 2, 3, 0xFE, 0xFF)

    def convert(self, bus_v: float, current_a: float) -> None:
        self.words[1] = clip(current_a / 1.25e-3, -32768, 32767) & 0xFFFF
        self.words[2] = clip(bus_v / 1.25e-3, 0, 28800)
        self.compute()
        self.ready = True

    def compute(self) -> None:
        current = self.words[1] - (self.words[1] >> 15 << 16)
        self.words[3] = min(65535, int(abs(current) * self.words[2] * 1.5625e-4))


class Bus:
    """An adapter with the chips at their addresses; `refusal`: what every call ends with."""

    def __init__(self, chips: dict[int, Chip], refusal: int = 0) -> None:
        self.chips, self.refusal = chips, refusal
        self.calls = 0
        self.closed = False

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        word = self._chip(i2c_addr).read(register)
        return (word & 0xFF) << 8 | word >> 8

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self._chip(i2c_addr).write(register, (value & 0xFF) << 8 | value >> 8)

    def close(self) -> None:
        self.closed = True

    def _chip(self, address: int) -> Chip:
        self.calls += 1
        if self.refusal:
            raise OSError(self.refusal, "refused")
        if address not in self.chips:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        return self.chips[address]
