"""Watching a sensor from the event loop, which must not wait for hardware."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Optional

from edgetran_daemon.sensors.base import FIRST_S, PowerSensor


@asynccontextmanager
async def watching(sensor: Optional[PowerSensor]) -> AsyncIterator[None]:
    """From its first reading on (or after FIRST_S); None: nothing to watch."""
    if sensor is None:
        yield
        return
    begun_s = time.monotonic()
    starting = asyncio.ensure_future(asyncio.to_thread(sensor.start))
    try:
        await asyncio.shield(starting)  # a thread cannot be called back: what began is ended
        await asyncio.to_thread(sensor.await_reading, begun_s, FIRST_S)
        yield
    finally:
        await starting
        await asyncio.to_thread(sensor.stop)
