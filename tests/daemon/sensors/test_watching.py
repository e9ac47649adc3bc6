"""Whoever watches from the event loop leaves no reader behind, however it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest
from edgetran_daemon.sensors import Rapl
from edgetran_daemon.sensors.watching import watching


def package(folder: Path) -> Rapl:
    zone = folder / "intel-rapl:0"
    zone.mkdir()
    for name, text in {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "9"}.items():
        (zone / name).write_text(text)
    return Rapl(folder)


@pytest.mark.parametrize("after_turns", [0, 1, 2, 3, 5, 50])
def test_a_watch_that_is_cancelled_ends_its_thread(tmp_path: Path, after_turns: int) -> None:
    sensor = package(tmp_path)

    async def watch() -> None:
        async with watching(sensor):
            await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(watch())
        for _ in range(after_turns):
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not [one for one in threading.enumerate() if one.name == "sensor-rapl"]
    with sensor.watched():
        assert sensor.tally.new > 0
    assert not [one for one in threading.enumerate() if one.name == "sensor-rapl"]


def test_without_a_sensor_nothing_is_watched() -> None:
    async def watch() -> str:
        async with watching(None):
            return "inside"

    assert asyncio.run(watch()) == "inside"
