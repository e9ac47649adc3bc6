"""A sensor that hangs on another daemon, wired to this board: its telemetry, joules on our clock.

Each sample is the mean power since the one before it, on the other daemon's clock; power times
that time adds up without a loss. What is modelled there is not measured here.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any, Optional

import grpc
from edgetran_protos.generated.edgetran.v1 import device_pb2
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import DeviceServiceStub

from edgetran_daemon.sensors.base import Clock, PowerSensor, Reading, SensorFault
from edgetran_daemon.sensors.clocks import Offset
from edgetran_daemon.sensors.contract import BOARD, Contract

PERIOD_S = 0.1
ASK_S = 1.0
LOOK_S = 0.2


class Remote(PowerSensor):
    """`address`: of a daemon that this one may reach without keys; empty: none is set up."""

    name = "remote"
    needs_set_up = True
    streams = True

    def __init__(self, address: str, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._address = address
        self._other: Optional[device_pb2.SensorInfo] = None
        self._channel: Optional[grpc.Channel] = None
        self._call: Any = None
        self._arrived: queue.Queue[tuple[float, object]] = queue.Queue()
        self._offset = Offset()
        self._last_s: Optional[float] = None
        self._total_j = 0.0

    @property
    def contract(self) -> Contract:
        other, rate_hz = self._other, 1 / PERIOD_S
        name = f"{other.name} of {self._address}" if other else "another daemon's sensor"
        return Contract(
            scope=other.scope if other else BOARD,
            covers=f"{name}: {other.covers}" if other else name,
            rate_hz=min(rate_hz, other.rate_hz) if other else rate_hz,
            bandwidth_hz=min(rate_hz / 2, other.bandwidth_hz) if other else rate_hz / 2,
            clock="the other daemon's, moved by the fastest message of the last minute",
            overhead=f"a message every {PERIOD_S * 1e3:.0f} ms",
            counts_energy=True,
        )

    @property
    def set_up(self) -> bool:
        return bool(self._address)

    def unavailable(self) -> str:
        if not self._address:
            return "not set up: remote_sensor = HOST:PORT says which daemon reads it"
        try:
            with grpc.insecure_channel(self._address) as channel:
                self._other = _sensor_of(channel, self._address)
        except SensorFault as exc:
            return str(exc)
        return ""

    def _open(self) -> None:
        if not self._address:
            raise SensorFault(self.unavailable())
        channel = grpc.insecure_channel(self._address)
        try:
            self._other = _sensor_of(channel, self._address)
        except SensorFault:
            channel.close()
            raise
        self._channel, self._offset, self._last_s = channel, Offset(), None
        self._arrived = queue.Queue()
        request = device_pb2.TelemetryRequest(period_s=PERIOD_S)
        self._call = DeviceServiceStub(channel).Telemetry(request)
        listen = threading.Thread(
            target=_listen, args=(self._call, self._arrived, self._clock), daemon=True
        )
        listen.start()

    def _close(self) -> None:
        if self._channel is not None:
            self._call.cancel()
            self._channel.close()
            self._channel = None

    def _read(self) -> Optional[Reading]:
        if self._channel is None:
            self._open()
        try:
            arrived_s, found = self._arrived.get(timeout=LOOK_S)
        except queue.Empty:
            return None
        if not isinstance(found, device_pb2.TelemetrySample):
            raise SensorFault(f"{self._address} is gone: {found}")
        if not found.HasField("power_w"):
            self._last_s = None
            raise SensorFault(f"{self._address} tells no measured power")
        last_s, self._last_s = self._last_s, found.monotonic_s
        if last_s is not None:
            self._total_j += found.power_w * (found.monotonic_s - last_s)
        return Reading(self._offset.local_s(found.monotonic_s, arrived_s), self._total_j)


def _listen(call: Any, arrived: queue.Queue[tuple[float, object]], clock: Clock) -> None:
    """In a thread of its own: a message is stamped when it comes, not when somebody looks."""
    try:
        for sample in call:
            arrived.put((clock(), sample))
        arrived.put((clock(), "it ended"))
    except grpc.RpcError as exc:
        arrived.put((clock(), call.details() or exc))


def _sensor_of(channel: grpc.Channel, address: str) -> device_pb2.SensorInfo:
    """Raises SensorFault when it measures nothing."""
    try:
        found = DeviceServiceStub(channel).Describe(device_pb2.DescribeRequest(), timeout=ASK_S)
    except grpc.RpcError as exc:
        raise SensorFault(f"no daemon answers at {address}") from exc
    if found.emulated:
        raise SensorFault(f"{address} emulates its board: its power is modelled")
    used = [sensor for sensor in found.sensors if sensor.in_use]
    if not used:
        raise SensorFault(f"{address} has no power sensor in use")
    return used[0]
