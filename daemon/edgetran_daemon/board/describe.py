"""What this board says of itself and how it is doing, one value each."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Optional

from edgetran_protos.errors import UsageError

from edgetran_daemon.board.board import Board
from edgetran_daemon.board.telemetry import Sample, Telemetry
from edgetran_daemon.runtimes import RUNTIMES, runtime_class
from edgetran_daemon.sensors import PowerSensor

DEFAULT_PERIOD_S = 1.0
SHORTEST_PERIOD_S = 0.05
LONGEST_PERIOD_S = 3600.0


@dataclass(frozen=True)
class RuntimeStatus:
    name: str
    version: str
    unavailable: str  # empty when usable


@dataclass(frozen=True)
class SensorStatus:
    name: str
    scope: str
    rate_hz: float
    unavailable: str


@dataclass(frozen=True)
class Description:
    board: Board
    daemon_version: str
    runtimes: tuple[RuntimeStatus, ...]
    sensors: tuple[SensorStatus, ...]
    threads: int
    host_platform: str


class Device:
    """`sensors`: all that this edgetran knows, usable or not."""

    def __init__(
        self,
        board: Board,
        sensors: tuple[PowerSensor, ...],
        threads: int,
        modelled_busy_s: Callable[[], float],
    ) -> None:
        self._board = board
        self._sensors = sensors
        self._threads = threads
        self._modelled_busy_s = modelled_busy_s

    @property
    def sensor(self) -> Optional[PowerSensor]:
        """The first that can be read; none on an emulated board."""
        if self._board.emulated:
            return None
        return next((sensor for sensor in self._sensors if not sensor.unavailable()), None)

    def describe(self) -> Description:
        return Description(
            board=self._board,
            daemon_version=daemon_version(),
            runtimes=runtime_statuses(),
            sensors=tuple(self._sensor(sensor) for sensor in self._sensors),
            threads=self._threads,
            host_platform=f"{platform.system().lower()} {platform.machine()}",
        )

    async def telemetry(self, period_s: float, stopping: asyncio.Event) -> AsyncIterator[Sample]:
        period_s = period_s or DEFAULT_PERIOD_S
        if not SHORTEST_PERIOD_S <= period_s <= LONGEST_PERIOD_S:
            raise UsageError(
                f"a period of {period_s} s is not possible",
                hint=f"between {SHORTEST_PERIOD_S} and {LONGEST_PERIOD_S:.0f} s",
            )
        reader = Telemetry(self._board, self.sensor, self._modelled_busy_s)
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), period_s)
            except asyncio.TimeoutError:
                yield reader.sample()

    def _sensor(self, sensor: PowerSensor) -> SensorStatus:
        reason = sensor.unavailable()
        if self._board.emulated:
            reason = "the board is emulated: power comes from its model"
        return SensorStatus(sensor.name, sensor.scope, sensor.rate_hz, reason)


def daemon_version() -> str:
    try:
        return metadata.version("edgetran-daemon")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from a source tree


def runtime_statuses() -> tuple[RuntimeStatus, ...]:
    """Of all that edgetran knows, usable or not."""
    return tuple(_runtime(name) for name in RUNTIMES)


def _runtime(name: str) -> RuntimeStatus:
    kind = runtime_class(name)
    reason = kind.unavailable()
    return RuntimeStatus(name, "" if reason else kind.version(), reason)
