"""macOS: the stream of property lists that `powermetrics` writes, one a sample, NULs between.

A sample says how long it was (`elapsed_ns`, not what was asked for) and the milliwatts of the
chip in that time; older systems give millijoules of its parts. Every key may be missing, which
means that nobody knows, not zero.
"""

from __future__ import annotations

import contextlib
import os
import plistlib
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, Optional
from xml.parsers.expat import ExpatError

from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.contract import CHIP, Contract

PERIOD_S = 0.1
PROGRAM = ("powermetrics", "-s", "cpu_power,gpu_power", "-f", "plist", "-i", "100")
END = b"</plist>"
LOOK_S = 0.2
LEAVE_S = 1.0
LARGEST_BYTES = 1 << 22  # of one sample; a real one has some ten thousand
MILLI, NANO = 1e-3, 1e-9
CONTRACT = Contract(
    scope=CHIP,
    covers="CPU, GPU and neural engine; no display, no losses of the supply",
    rate_hz=1 / PERIOD_S,
    bandwidth_hz=0.5 / PERIOD_S,
    clock="this machine's, when a sample arrives; its length is the system's own",
    overhead="a process of root's that samples ten times a second",
    counts_energy=True,  # each sample is the energy of its whole time
)


class Powermetrics(PowerSensor):
    name = "powermetrics"
    streams = True
    contract = CONTRACT

    def __init__(
        self,
        program: Sequence[str] = PROGRAM,
        clock: Clock = time.monotonic,
        user: Callable[[], int] = os.geteuid,
    ) -> None:
        super().__init__(clock)
        self._program = tuple(program)
        self._user = user
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._buffer = b""
        self._total_j = 0.0

    def unavailable(self) -> str:
        if shutil.which(self._program[0]) is None:
            return f"this machine has no {self._program[0]}: it is a program of macOS"
        if self._user() != 0:
            return f"{self._program[0]} needs root"
        return ""

    def _open(self) -> None:
        self._buffer = b""
        self._child = subprocess.Popen(
            self._program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )

    def _close(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def _read(self) -> Optional[Reading]:
        """Waits for the rest of a sample, LOOK_S at most."""
        if self._child is None:
            self._open()
        assert self._child is not None
        assert self._child.stdout is not None
        if END not in self._buffer and select.select([self._child.stdout], [], [], LOOK_S)[0]:
            data = os.read(self._child.stdout.fileno(), 1 << 16)
            if not data:
                raise SensorFault(f"{self._program[0]} ended with status {self._child.wait()}")
            self._buffer += data
        sample, end, rest = self._buffer.partition(END)
        if len(sample) > LARGEST_BYTES:
            raise SensorFault(f"{self._program[0]} writes no property lists")
        if not end:
            return None
        self._buffer = rest
        self._total_j += energy_j(sample + end)
        return Reading(self._clock(), self._total_j)


def energy_j(sample: bytes) -> float:
    """Of one property list. Raises SensorFault when it does not tell."""
    try:
        found: dict[str, Any] = plistlib.loads(sample.strip(b"\0 \r\n\t"))
        processor, elapsed_s = found["processor"], found["elapsed_ns"] * NANO
    except (ExpatError, plistlib.InvalidFileException, ValueError, KeyError, TypeError) as exc:
        raise SensorFault(f"no sample of powermetrics: {exc!r}") from exc
    if "combined_power" in processor:
        return float(processor["combined_power"] * MILLI * elapsed_s)
    if "package_energy" in processor:  # contains the others
        return float(processor["package_energy"] * MILLI)
    parts = [processor.get(f"{part}_energy") for part in ("cpu", "gpu", "ane")]
    if parts[0] is None or parts[1] is None:
        raise SensorFault("powermetrics tells neither the chip's power nor that of its parts")
    with contextlib.suppress(KeyError):
        parts.append(processor["dram_energy"])
    return float(sum(part for part in parts if part is not None) * MILLI)
