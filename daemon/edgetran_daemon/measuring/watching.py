"""Looks at the board and at its power sensor while something runs, and notes what they say.

A look tells temperature, clock, throttling and the wall clock; the sensor is read as often
as it has something new to say, up to a hundred times a second. Both note when they looked.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Optional

from edgetran_protos.errors import EdgeTranError
from edgetran_protos.measuring.series import UNKNOWN

from edgetran_daemon.board import telemetry
from edgetran_daemon.board.throttling import Throttling
from edgetran_daemon.measuring.cores import SYSTEM, clock_khz
from edgetran_daemon.sensors import PowerSensor

LOOK_S = 0.5
SHORTEST_PERIOD_S = 0.01  # a reading costs some fifty microseconds


def period_s(sensor: PowerSensor) -> float:
    """Between two readings."""
    return max(SHORTEST_PERIOD_S, 1 / sensor.rate_hz)


class Watch:
    """`async with`: looks and readings from before what runs inside until after it."""

    def __init__(
        self, sensor: Optional[PowerSensor], cores: Sequence[int], system: Path = SYSTEM
    ) -> None:
        self._sensor = sensor
        self._cores = cores
        self._system = system
        self._throttling = Throttling(system)
        self._columns: dict[str, list[int]] = defaultdict(list)

    @property
    def columns(self) -> Mapping[str, Sequence[int]]:
        return self._columns

    async def __aenter__(self) -> Watch:
        self._see()
        self._tasks = [asyncio.create_task(self._keep_looking())]
        if self._sensor is not None:
            self._read(self._sensor)
            self._tasks.append(asyncio.create_task(self._keep_reading(self._sensor)))
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._see()
        if self._sensor is not None:
            self._read(self._sensor)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._see()

    async def _keep_reading(self, sensor: PowerSensor) -> None:
        while True:
            await asyncio.sleep(period_s(sensor))
            self._read(sensor)

    def _see(self) -> None:
        temperature_c = telemetry.temperature_c()
        throttled = self._throttling.since_last()
        look = {
            "seen_ns": time.perf_counter_ns(),
            "seen_unix_ns": time.time_ns(),  # at once after it: the two are compared
            "temperature_mc": UNKNOWN if temperature_c is None else round(temperature_c * 1e3),
            "clock_khz": clock_khz(self._cores, self._system),
            "throttled": UNKNOWN if throttled is None else int(throttled),
        }
        for name, value in look.items():
            self._columns[name].append(value)

    def _read(self, sensor: PowerSensor) -> None:
        """A sensor that fails is asked again; that it failed stays on record."""
        try:
            value, rails = round(sensor.energy_j() * 1e6), 1
        except (OSError, ValueError, EdgeTranError):
            value, rails = UNKNOWN, 0
        self._columns["power_ns"].append(time.perf_counter_ns())
        self._columns["power_value"].append(value)
        self._columns["power_rails"].append(rails)
