"""edgetran.v1.DeviceService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from edgetran_protos.generated.edgetran.v1 import device_pb2 as messages
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import DeviceServiceServicer

from edgetran_daemon.board.describe import Device
from edgetran_daemon.services import convert

Context = grpc.aio.ServicerContext[Any, Any]


class DeviceService(DeviceServiceServicer):
    def __init__(self, device: Device, stopping: asyncio.Event) -> None:
        self._device = device
        self._stopping = stopping

    async def Describe(
        self, request: messages.DescribeRequest, context: Context
    ) -> messages.DescribeResponse:
        return convert.description(await asyncio.to_thread(self._device.describe))

    async def Telemetry(
        self, request: messages.TelemetryRequest, context: Context
    ) -> AsyncGenerator[messages.TelemetrySample, None]:
        async for sample in self._device.telemetry(request.period_s, self._stopping):
            yield convert.telemetry_sample(sample)
