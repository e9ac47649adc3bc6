"""What this board says of itself and how it is doing, one value each."""

from __future__ import annotations

import asyncio
import dataclasses
import platform
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import metadata

from edgetran_protos.errors import SensorUnusable, UsageError

from edgetran_daemon.board.board import Board
from edgetran_daemon.board.telemetry import Sample, Telemetry
from edgetran_daemon.sensors import PowerSensor, chosen
from edgetran_daemon.sensors.places import AUTO
from edgetran_daemon.sensors.watching import watching
from edgetran_daemon.serving.worker_pythons import OWN, RuntimeStatus, WorkerPythons

DEFAULT_PERIOD_S = 1.0
SHORTEST_PERIOD_S = 0.05
LONGEST_PERIOD_S = 3600.0


@dataclass(frozen=True)
class SensorStatus:
    """The sensor's contract, and whether it can be read and is what measures."""

    name: str
    scope: str
    covers: str
    rate_hz: float
    bandwidth_hz: float
    clock: str
    overhead: str
    counts_energy: bool
    unavailable: str
    in_use: bool


@dataclass(frozen=True)
class Description:
    board: Board
    daemon_version: str
    runtimes: tuple[RuntimeStatus, ...]
    sensors: tuple[SensorStatus, ...]
    threads: int
    host_platform: str


class Device:
    """`sensors`: all that this edgetran knows, usable or not; `use`: which of them, or "auto".

    `sensor`: the one that measures; None: there is none, or the board is emulated.
    """

    def __init__(
        self,
        board: Board,
        sensors: tuple[PowerSensor, ...],
        threads: int,
        modelled_busy_s: Callable[[], float],
        use: str = AUTO,
        pythons: WorkerPythons = OWN,
    ) -> None:
        self._board = board
        self._sensors = sensors
        self.sensor = None if board.emulated else chosen(sensors, use)
        self._threads = threads
        self._modelled_busy_s = modelled_busy_s
        self._pythons = pythons

    def describe(self) -> Description:
        return Description(
            board=self._board,
            daemon_version=daemon_version(),
            runtimes=tuple(map(self._runtime, self._pythons.statuses())),
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
        async with watching(self.sensor):
            reader = Telemetry(self._board, self.sensor, self._modelled_busy_s)
            while not stopping.is_set():
                try:
                    await asyncio.wait_for(stopping.wait(), period_s)
                except asyncio.TimeoutError:
                    yield reader.sample()

    def _runtime(self, status: RuntimeStatus) -> RuntimeStatus:
        unit = self._board.model
        if unit is None or status.name in unit.runtimes:
            return status
        reason = f"the emulated board has no {status.name}"
        return dataclasses.replace(status, unavailable=reason)

    def readable(self, name: str = "") -> PowerSensor:
        """The sensor of that name, or the one in use. Raises UsageError, SensorUnusable."""
        if self._board.emulated:
            raise UsageError(
                f"{self._board.title} is emulated: its power is modelled, no sensor is read",
                hint="ask a daemon that runs on the board itself",
            )
        found = [sensor for sensor in self._sensors if sensor.name == name]
        if name and not found:
            known = ", ".join(sensor.name for sensor in self._sensors)
            raise UsageError(f"there is no sensor {name!r}", hint=f"known: {known}")
        sensor = found[0] if found else self.sensor
        if sensor is None:
            raise SensorUnusable(
                "no power sensor of this board can be read",
                hint="`edgetran device info` says why; docs/sensors.md how one is set up",
            )
        if reason := sensor.unavailable():
            raise SensorUnusable(
                f"sensor {sensor.name} cannot be read: {reason}",
                hint="docs/sensors.md says how it is set up",
            )
        return sensor

    def _sensor(self, sensor: PowerSensor) -> SensorStatus:
        reason = sensor.unavailable()
        if self._board.emulated:
            reason = "the board is emulated: power comes from its model"
        stated = sensor.contract
        return SensorStatus(
            name=sensor.name,
            scope=stated.scope,
            covers=stated.covers,
            rate_hz=stated.rate_hz,
            bandwidth_hz=stated.bandwidth_hz,
            clock=stated.clock,
            overhead=stated.overhead,
            counts_energy=stated.counts_energy,
            unavailable=reason,
            in_use=sensor is self.sensor,
        )


def daemon_version() -> str:
    try:
        return metadata.version("edgetran-daemon")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from a source tree
