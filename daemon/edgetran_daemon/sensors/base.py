"""What every power sensor offers: a driver reads, this class keeps, adds up and reports.

A sensor is read in a thread of its own as long as somebody watches it. A reading is watts, or
joules so far where the hardware counts them; one that cannot be used (clipped, lost, nonsense)
is kept as a fault, and nothing is added up across it.
"""

from __future__ import annotations

import abc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

import numpy as np
from edgetran_protos.measuring.power import Sensor, Trace

from edgetran_daemon.sensors.contract import Contract

Clock = Callable[[], float]

KEPT_S = 660.0  # more than the longest stretch that is looked at afterwards, a warm-up
FOLDED_READINGS = 1_000
GAP_PERIODS, GAP_S = 8, 0.5  # a longer silence than both: what was spent meanwhile is not known
SHORTEST_PERIOD_S = 0.005  # a faster sensor is read so often
FIRST_S = 3.0  # a sensor's first reading takes at most so long
RETRIES = 4  # looks a period while there is nothing new
MICRO = 1e6
CLIPPED = "clipped: more than the shunt's range"


@dataclass(frozen=True)
class Reading:
    """`value`: watts, or joules so far where the contract says so; None: `fault` says why."""

    at_s: float  # on this machine's monotonic clock; of a mean: the middle of its window
    value: Optional[float]
    rails: int = 1  # how many parts answered
    fault: str = ""

    @property
    def clipped(self) -> bool:
        """Whether there is no value because it was too large."""
        return self.fault.startswith(CLIPPED)


class SensorFault(OSError):
    """A reading that must not be used: clipped, reset, nonsense."""


TROUBLE = (SensorFault, OSError, ValueError, ImportError)  # an extra may be missing


@dataclass
class Tally:
    """What became of the looks at a sensor."""

    new: int = 0
    stale: int = 0  # the hardware had nothing new
    faults: int = 0


class PowerSensor(abc.ABC):
    """Counts joules while it is watched. Without a usable sensor there is no figure."""

    name: str
    needs_set_up: bool = False  # nobody can find it by looking: the settings say where it is
    streams: bool = False  # readings come by themselves: `_read` waits for one, a little

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._hardware = threading.RLock()  # one look at a time
        self._keeping = threading.Lock()
        self._switching = threading.Lock()
        self._readings: deque[Reading] = deque()
        self._unfolded: list[Reading] = []
        self._joules = 0.0
        self._watchers = 0
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self.tally = Tally()

    @property
    @abc.abstractmethod
    def contract(self) -> Contract: ...

    @abc.abstractmethod
    def unavailable(self) -> str:
        """Why it cannot be read here; empty when it can. Changes nothing on the hardware."""

    @abc.abstractmethod
    def _read(self) -> Optional[Reading]:
        """None: nothing new. Raises what TROUBLE names."""

    def _open(self) -> None:  # noqa: B027, for those that have nothing to open
        """Before the first reading: configures, connects, starts. Raises as `_read` does."""

    def _close(self) -> None:  # noqa: B027
        """After the last one."""

    @property
    def set_up(self) -> bool:
        """Whether the settings name it, where that is needed."""
        return True

    @property
    def scope(self) -> str:
        return f"{self.contract.scope}: {self.contract.covers}"

    @property
    def rate_hz(self) -> float:
        return self.contract.rate_hz

    @contextmanager
    def watched(self, first_s: float = FIRST_S) -> Iterator[None]:
        """Reads while inside, however many watch. Waits for the first reading, so long at most."""
        self.start()
        try:
            self.await_reading(self._clock(), first_s)
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """One more watches. Blocks while a thread that nobody needs any more still ends."""
        with self._switching:
            self._watchers += 1
            if self._watchers > 1:
                return
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stop,), name=f"sensor-{self.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """One less; the last one waits for the thread's end: the hardware has one reader."""
        with self._switching:
            self._watchers -= 1
            if self._watchers:
                return
            self._stop.set()
            if self._thread is not None:
                self._thread.join()
                self._thread = None

    def _run(self, stopping: threading.Event) -> None:
        period_s = max(SHORTEST_PERIOD_S, self.contract.period_s)
        opened = False
        try:
            while not stopping.is_set():
                opened = opened or self._opened()
                if not opened:
                    stopping.wait(GAP_S)
                    continue
                found = self.poll()
                if self.streams and found is not None and found.fault:
                    self._close()  # whoever sent may have gone: another try
                    opened = False
                    stopping.wait(GAP_S)
                elif not self.streams:
                    stopping.wait(period_s if found is not None else period_s / RETRIES)
        finally:
            self._close()

    def _opened(self) -> bool:
        try:
            self._open()
        except TROUBLE as exc:
            self._keep(Reading(self._clock(), None, 0, _said(exc)))
            return False
        return True

    def poll(self) -> Optional[Reading]:
        """Looks once, and keeps what there is; None: nothing new."""
        with self._hardware:
            try:
                found = self._read()
            except TROUBLE as exc:
                found = Reading(self._clock(), None, 0, _said(exc))
            self._keep(found)
        return found

    def _keep(self, found: Optional[Reading]) -> None:
        with self._keeping:
            if found is None:
                self.tally.stale += 1
                return
            self.tally.new += not found.fault
            self.tally.faults += bool(found.fault)
            self._readings.append(found)
            while self._readings[0].at_s < found.at_s - KEPT_S:
                self._readings.popleft()
            self._unfolded.append(found)
            if len(self._unfolded) >= FOLDED_READINGS:
                self._fold()

    def readings(self, from_s: float = -np.inf) -> list[Reading]:
        """Those from that moment on, of the last minutes, faults among them."""
        with self._keeping:
            return [reading for reading in self._readings if reading.at_s >= from_s]

    @property
    def newest_s(self) -> float:
        """The stamp of the last reading."""
        with self._keeping:
            return self._readings[-1].at_s if self._readings else -np.inf

    def await_reading(self, after_s: float, within_s: float) -> bool:
        """Whether one with a later stamp (or a fault) came; returns as soon as it did."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with self._keeping:
                if self._readings and self._readings[-1].at_s > after_s:
                    return True
            time.sleep(0.002)
        return False

    def energy_j(self) -> float:
        """Joules seen so far; what integrates watts sees them only while it is watched.

        Raises SensorFault while it cannot be read.
        """
        if self.contract.counts_energy and not self.streams:
            self.poll()
        with self._keeping:
            if self._readings and self._readings[-1].fault:
                raise SensorFault(f"{self.name}: {self._readings[-1].fault}")
            self._fold()
            return self._joules

    def mean_w(self, from_s: float) -> Optional[float]:
        """From a reading's moment until now; None when the sensor was lost meanwhile."""
        used = self.readings(from_s)
        if not used or self._clock() - used[-1].at_s > silence_s(self.contract):
            return None
        if len(used) == 1 or any(one.fault for one in used):
            return None if self.contract.counts_energy else used[-1].value
        return self._spent_j(used) / (used[-1].at_s - used[0].at_s)

    def _fold(self) -> None:
        """Adds up what came since the last time; the newest reading begins the next stretch."""
        for stretch in unbroken(self._unfolded, self.contract):
            self._joules += self._spent_j(stretch)
        good = [one for one in self._unfolded if one.value is not None]
        self._unfolded = (good if self.contract.counts_energy else self._unfolded)[-1:]

    def _spent_j(self, stretch: list[Reading]) -> float:
        if len(stretch) < 2:
            return 0.0
        series = {
            "power_ns": np.array([round(one.at_s * 1e9) for one in stretch], np.int64),
            "power_value": np.array([round((one.value or 0) * MICRO) for one in stretch], np.int64),
        }
        counts = self.contract.counts_energy
        sensor = Sensor(self.name, self.scope, self.contract.period_s, counts)
        joules = Trace(series, sensor).joules
        return float(joules[-1] - joules[0])


def silence_s(contract: Contract) -> float:
    return max(GAP_PERIODS * contract.period_s, GAP_S)


def unbroken(readings: list[Reading], contract: Contract) -> Iterator[list[Reading]]:
    """Stretches without a fault or a long silence; hardware that counts goes on meanwhile."""
    if contract.counts_energy:
        yield [one for one in readings if one.value is not None]
        return
    stretch: list[Reading] = []
    for one in readings:
        if one.fault or (stretch and one.at_s - stretch[-1].at_s > silence_s(contract)):
            yield stretch
            stretch = []
        if not one.fault:
            stretch.append(one)
    yield stretch


def _said(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
