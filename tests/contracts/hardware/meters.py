"""Meters behind a pseudo terminal: the other end is a serial port to whoever opens it."""

from __future__ import annotations

import contextlib
import os
import pty
import struct
import threading
import time
import tty
from collections.abc import Callable
from functools import reduce

ASK = b"\xf0"


class Terminal:
    def __init__(self) -> None:
        self.own, self.theirs = pty.openpty()
        tty.setraw(self.theirs)
        self.port = os.ttyname(self.theirs)

    def close(self) -> None:
        for end in (self.own, self.theirs):
            os.close(end)


def smartpower3_line(
    stamp_ms: int,
    outputs: tuple[tuple[int, int, int, int], tuple[int, int, int, int]],
    supply: tuple[int, int, int] = (15296, 36, 550),
) -> bytes:
    """outputs: (mV, mA, mW, on) each."""
    text = f"{stamp_ms:010d},{supply[0]:05d},{supply[1]:04d},{supply[2]:05d},0,"
    for volts, amperes, watts, on in outputs:
        text += f"{volts:05d},{amperes:04d},{watts:05d},{on},00,"
    data = text.encode()
    total, mixed = -sum(data) & 0xFF, reduce(lambda a, b: a ^ b, data, 0)
    return data + f"{total:02x},{mixed:02x}\r\n".encode()


class SmartPower3Meter:
    """Writes a line whenever `tick` is called; its clock is its own."""

    OFF = (0, 0, 0, 0)

    def __init__(self, interval_ms: int = 10) -> None:
        self.terminal = Terminal()
        self.interval_ms = interval_ms
        self.stamp_ms = 815_169
        self.power_w = 0.0

    def tick(self, ms: int | None = None) -> None:
        self.stamp_ms += self.interval_ms if ms is None else ms
        first = (5000, round(self.power_w / 5 * 1e3), round(self.power_w * 1e3), 1)
        self.write(smartpower3_line(self.stamp_ms, (first, self.OFF)))

    def write(self, data: bytes) -> None:
        os.write(self.terminal.own, data)

    def close(self) -> None:
        self.terminal.close()


class LiveMeter:
    """A SmartPower 3 in real time; `power_w` is asked for at every line."""

    def __init__(self, power_w: Callable[[], float]) -> None:
        self.meter = SmartPower3Meter()
        self._power_w = power_w
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> str:
        return self.meter.terminal.port

    def _run(self) -> None:
        begun_s, begun_ms = time.monotonic(), self.meter.stamp_ms
        os.set_blocking(self.meter.terminal.own, False)
        while not self._stop.wait(self.meter.interval_ms / 1e3):
            now_ms = begun_ms + round((time.monotonic() - begun_s) * 1e3)
            self.meter.power_w = self._power_w()
            with contextlib.suppress(BlockingIOError):  # a meter does not wait for readers
                self.meter.tick(now_ms - self.meter.stamp_ms)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.meter.close()


class UmAnswers:
    """A UM25C (or what `model` says) that answers in a thread of its own."""

    def __init__(self, model: int = 0x09C9) -> None:
        self.terminal = Terminal()
        self.model, self.finer = model, 10 if model == 0x09C9 else 1
        self.volts, self.amperes = 5.0, 0.0
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self) -> bytes:
        head = struct.pack(
            ">HHHI",
            self.model,
            round(self.volts * 100 * self.finer),
            round(self.amperes * 1000 * self.finer),
            round(self.volts * self.amperes * 1000),
        )
        return head + bytes(118) + b"\xff\xf1"

    def _run(self) -> None:
        while True:
            asked = os.read(self.terminal.own, 1)
            if asked == ASK:
                os.write(self.terminal.own, self.spoil(self.answer()))
            elif asked == b"q":
                return

    def close(self) -> None:
        os.write(self.terminal.theirs, b"q")
        self._thread.join()
        self.terminal.close()
