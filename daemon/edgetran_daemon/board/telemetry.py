"""How the board is doing: load, memory, temperature, power."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import psutil
from edgetran_protos.errors import RuntimeFault

from edgetran_daemon.board.board import Board
from edgetran_daemon.board.throttling import SYSTEM, Throttling
from edgetran_daemon.sensors import PowerSensor

CPU_SENSORS = ("coretemp", "k10temp", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")


@dataclass(frozen=True)
class Sample:
    """None: this machine cannot tell."""

    monotonic_s: float
    power_w: Optional[float]
    temperature_c: Optional[float]
    cpu_load: Optional[float]  # 0..1 over all cores
    memory_used_bytes: int
    clock_hz: Optional[float]
    modelled: bool  # power comes from the board's model
    throttled: Optional[bool] = None  # now, or since the last sample


class Telemetry:
    """One reader a client: power and load are means since its last sample.

    An emulated board has a modelled power and no temperature, load or clock.
    """

    def __init__(
        self,
        board: Board,
        sensor: Optional[PowerSensor],
        modelled_busy_s: Callable[[], float],
        system: Path = SYSTEM,
    ) -> None:
        self._board = board
        self._sensor = sensor
        self._modelled_busy_s = modelled_busy_s
        self._last_s = time.monotonic()
        self._last_busy_s = modelled_busy_s()
        self._last_power_s = -math.inf
        self._last_cpu = idle_and_total_s()
        self._throttling = Throttling(system)
        self._power_w()  # means count from here

    def sample(self) -> Sample:
        now_s = time.monotonic()
        period_s, self._last_s = max(now_s - self._last_s, 1e-6), now_s
        if self._board.emulated:
            return self._emulated(now_s, period_s)
        return Sample(
            monotonic_s=now_s,
            power_w=self._power_w(),
            temperature_c=temperature_c(),
            cpu_load=self._cpu_load(),
            memory_used_bytes=psutil.virtual_memory().used,
            clock_hz=clock_hz(),
            modelled=False,
            throttled=self._throttling.since_last(),
        )

    def _emulated(self, now_s: float, period_s: float) -> Sample:
        unit = self._board.model
        if unit is None:
            raise RuntimeFault("only an emulated board has a modelled power")
        busy_s = self._modelled_busy_s()
        share = min(1.0, (busy_s - self._last_busy_s) / period_s)
        self._last_busy_s = busy_s
        power_w = None
        if unit.idle_w is not None and unit.active_w is not None:
            power_w = unit.idle_w + share * (unit.active_w - unit.idle_w)
        memory = sum(_resident_bytes(child) for child in psutil.Process().children())
        return Sample(now_s, power_w, None, None, memory, None, modelled=True)

    def _power_w(self) -> Optional[float]:
        """A sensor that is not watched, or was lost meanwhile, tells nothing."""
        if self._sensor is None:
            return None
        if self._sensor.contract.counts_energy and not self._sensor.streams:
            self._sensor.poll()
        from_s = self._last_power_s
        self._last_power_s = self._sensor.newest_s
        return self._sensor.mean_w(from_s)

    def _cpu_load(self) -> Optional[float]:
        (idle_s, total_s), last = idle_and_total_s(), self._last_cpu
        self._last_cpu = idle_s, total_s
        if total_s <= last[1]:
            return None  # no clock tick since
        return min(1.0, max(0.0, 1 - (idle_s - last[0]) / (total_s - last[1])))


def idle_and_total_s() -> tuple[float, float]:
    """Of all cores since the start; waiting for a disk is idle, guests count in user already."""
    times = psutil.cpu_times()._asdict()
    guests_s = times.get("guest", 0.0) + times.get("guest_nice", 0.0)
    return times["idle"] + times.get("iowait", 0.0), sum(times.values()) - guests_s


def temperature_c() -> Optional[float]:
    """The hottest CPU sensor; None where there is none."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    found = psutil.sensors_temperatures()
    readings = [entry.current for name in CPU_SENSORS for entry in found.get(name, [])]
    return max(readings, default=None)


def clock_hz() -> Optional[float]:
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return frequency.current * 1e6 if frequency and frequency.current else None


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0  # ended since it was listed
