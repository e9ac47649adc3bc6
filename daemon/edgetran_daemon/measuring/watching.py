"""Looks at the board and at its power sensor while something runs, and notes what they say.

A look tells temperature, clock, throttling and the wall clock. The sensor is read in a thread
of its own (sensors/base.py); what it read meanwhile is taken over, faults among it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Optional

from edgetran_protos.measuring.series import CLIPPED, UNKNOWN

from edgetran_daemon.board import telemetry
from edgetran_daemon.board.throttling import Throttling
from edgetran_daemon.measuring.cores import SYSTEM, clock_khz
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.sensors.base import FIRST_S, Reading
from edgetran_daemon.sensors.watching import watching

LOOK_S = 0.5


class Watch:
    """`async with`: looks and readings from before what runs inside until after it."""

    def __init__(
        self, sensor: Optional[PowerSensor], cores: Sequence[int], system: Path = SYSTEM
    ) -> None:
        self._sensor = sensor
        self._cores = cores
        self._system = system
        self._throttling = Throttling(system)
        self._watching = watching(sensor)
        self._columns: dict[str, list[int]] = defaultdict(list)

    @property
    def columns(self) -> Mapping[str, Sequence[int]]:
        return self._columns

    async def __aenter__(self) -> Watch:
        self._begun_s = time.monotonic()
        await self._watching.__aenter__()
        self._see()
        self._looking = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        self._see()
        try:
            if self._sensor is not None and error is None:
                await asyncio.to_thread(self._sensor.await_reading, time.monotonic(), FIRST_S)
                for reading in self._sensor.readings(self._begun_s):
                    self._read(reading)
        finally:
            await self._watching.__aexit__(kind, error, trace)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._see()

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

    def _read(self, reading: Reading) -> None:
        value = UNKNOWN if reading.value is None else round(reading.value * 1e6)
        if reading.clipped:
            value = CLIPPED
        self._columns["power_ns"].append(round(reading.at_s * 1e9))
        self._columns["power_value"].append(value)
        self._columns["power_rails"].append(reading.rails)
