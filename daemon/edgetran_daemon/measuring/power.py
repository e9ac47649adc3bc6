"""Energy and peak power of a stretch of work, from a sensor that counts joules."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Optional

from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.sensors.watching import watching

WINDOW_S = 0.1  # peak power is the largest mean over such a window


class PowerWindow:
    """`async with`: energy_j and peak_power_w of what ran inside; gross, of the sensor's scope."""

    def __init__(self, sensor: PowerSensor, window_s: float = WINDOW_S) -> None:
        self._sensor = sensor
        self._window_s = window_s
        self._watching = watching(sensor)
        self.energy_j = 0.0
        self.peak_power_w = 0.0

    async def __aenter__(self) -> PowerWindow:
        await self._watching.__aenter__()
        self._begun_j = self._sensor.energy_j()
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._sampling.cancel()
        await asyncio.gather(self._sampling, return_exceptions=True)
        try:
            self.energy_j = self._sensor.energy_j() - self._begun_j
        finally:
            await self._watching.__aexit__(kind, error, trace)

    async def _sample(self) -> None:
        last_j, last_s = self._begun_j, time.monotonic()
        while True:
            await asyncio.sleep(self._window_s)
            now_j, now_s = self._sensor.energy_j(), time.monotonic()
            self.peak_power_w = max(self.peak_power_w, (now_j - last_j) / (now_s - last_s))
            last_j, last_s = now_j, now_s
