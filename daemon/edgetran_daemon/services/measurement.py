"""edgetran.v1.MeasurementService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from edgetran_protos.generated.edgetran.v1 import measurement_pb2 as messages
from edgetran_protos.generated.edgetran.v1.measurement_pb2_grpc import MeasurementServiceServicer

from edgetran_daemon.board.describe import Device
from edgetran_daemon.measuring.lease import Lease, Leases
from edgetran_daemon.measuring.measurement import Measurements
from edgetran_daemon.services import convert

Context = grpc.aio.ServicerContext[Any, Any]


class MeasurementService(MeasurementServiceServicer):
    def __init__(
        self, measurements: Measurements, leases: Leases, device: Device, threads: int
    ) -> None:
        self._measurements = measurements
        self._device = device
        self._leases = leases
        self._threads = threads

    async def Measure(
        self, request: messages.MeasureRequest, context: Context
    ) -> AsyncGenerator[messages.MeasureEvent, None]:
        events = self._measurements.measure(convert.measure_spec(request, self._threads))
        try:
            async for event in events:
                yield convert.measure_event(event)
        finally:
            await events.aclose()

    async def TestSensor(
        self, request: messages.TestSensorRequest, context: Context
    ) -> AsyncGenerator[messages.TestSensorEvent, None]:
        sensor = await asyncio.to_thread(self._device.readable, request.sensor)
        events = self._measurements.test_sensor(
            sensor, request.phase_s, request.steps, request.lease_token
        )
        try:
            async for event in events:
                yield convert.test_sensor_event(event)
        finally:
            await events.aclose()

    async def AcquireLease(
        self, request: messages.AcquireLeaseRequest, context: Context
    ) -> messages.Lease:
        return convert.lease(self._measurements.lease(request.holder, request.ttl_s))

    async def AwaitLease(
        self, request: messages.AcquireLeaseRequest, context: Context
    ) -> AsyncGenerator[messages.LeaseEvent, None]:
        events = self._measurements.await_lease(request.holder, request.ttl_s, request.priority)
        given = None
        try:
            async for event in events:
                given = event if isinstance(event, Lease) else None
                yield convert.lease_event(event)
            given = None  # it reached the client
        finally:
            await events.aclose()
            if given is not None:
                self._leases.release(given.token)

    async def ShowLease(
        self, request: messages.ShowLeaseRequest, context: Context
    ) -> messages.LeaseState:
        return convert.lease_state(self._leases, self._measurements.busy)

    async def RenewLease(
        self, request: messages.RenewLeaseRequest, context: Context
    ) -> messages.Lease:
        return convert.lease(self._leases.renew(request.token))

    async def ReleaseLease(
        self, request: messages.ReleaseLeaseRequest, context: Context
    ) -> messages.ReleaseLeaseResponse:
        self._leases.release(request.token)
        return messages.ReleaseLeaseResponse()
