"""Steps of real load under a power sensor's eyes: the board's cores idle, work, idle, in turns."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Union

from edgetran_protos.errors import UsageError

from edgetran_daemon.board.board import usable_cores
from edgetran_daemon.measuring.records import MeasureProgress
from edgetran_daemon.measuring.step_response import Phase, SensorReport, report
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.sensors.base import FIRST_S, Tally
from edgetran_daemon.sensors.watching import watching

STEPS, MAX_STEPS = 3, 20
SHORTEST_PHASE_S, LONGEST_PHASE_S = 0.2, 30.0
USUAL_PHASE_S = 1.0
SETTLING = 4.0  # over the bandwidth
READINGS = 12  # a phase, at least
BURN = """\
import sys, time
print(flush=True)
for line in sys.stdin:
    end = time.monotonic() + float(line)
    while time.monotonic() < end:
        pass
"""  # ends by itself when the daemon is gone

Event = Union[MeasureProgress, SensorReport]


async def steps_of_load(
    sensor: PowerSensor, phase_s: float = 0.0, steps: int = 0
) -> AsyncGenerator[Event, None]:
    """Progress, then the report. Zeros: what the sensor needs, and STEPS.

    Raises UsageError.
    """
    steps = steps or STEPS
    phase_s = phase_s or usual_phase_s(sensor)
    if not SHORTEST_PHASE_S <= phase_s <= LONGEST_PHASE_S or steps > MAX_STEPS:
        raise UsageError(
            f"{steps} steps of {phase_s} s are not possible",
            hint=f"up to {MAX_STEPS}, of {SHORTEST_PHASE_S} to {LONGEST_PHASE_S:.0f} s",
        )
    async with watching(sensor):
        with burners() as burning:
            await asyncio.to_thread(_await_start, burning)
            before, phases = Tally(**vars(sensor.tally)), []
            begun_s = time.monotonic()
            for number in range(2 * steps + 1):
                yield MeasureProgress("step", number, 2 * steps + 1)
                phases.append(await _phase(burning, bool(number % 2), phase_s))
        await asyncio.to_thread(sensor.await_reading, phases[-1].until_s, FIRST_S)
        seen = Tally(*(getattr(sensor.tally, n) - getattr(before, n) for n in vars(before)))
        readings = sensor.readings(begun_s - sensor.contract.period_s)
    yield MeasureProgress("step", 2 * steps + 1, 2 * steps + 1)
    yield report(sensor.name, sensor.contract, readings, phases, seen)


def usual_phase_s(sensor: PowerSensor) -> float:
    stated = sensor.contract
    needed_s = max(USUAL_PHASE_S, SETTLING / stated.bandwidth_hz, READINGS * stated.period_s)
    return min(needed_s, LONGEST_PHASE_S)


def _await_start(burning: list[subprocess.Popen[str]]) -> None:
    for child in burning:
        assert child.stdout is not None
        child.stdout.readline()


async def _phase(burning: list[subprocess.Popen[str]], loaded: bool, phase_s: float) -> Phase:
    begun_s = time.monotonic()
    for child in burning if loaded else []:
        assert child.stdin is not None
        child.stdin.write(f"{phase_s}\n")
        child.stdin.flush()
    await asyncio.sleep(begun_s + phase_s - time.monotonic())
    return Phase(begun_s, begun_s + phase_s, loaded)


@contextmanager
def burners() -> Iterator[list[subprocess.Popen[str]]]:
    """A process a core that works for so many seconds as a line tells it; gone afterwards."""
    command = [sys.executable, "-I", "-S", "-c", BURN]
    made: list[subprocess.Popen[str]] = []
    try:
        for _ in range(usable_cores()):
            made.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        yield made
    finally:
        for child in made:
            child.kill()
            child.communicate()
