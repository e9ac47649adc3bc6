"""edgetran.v1.MeasurementService."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import grpc
from edgetran_protos.generated.edgetran.v1.measurement_pb2 import MeasureEvent, MeasureRequest
from edgetran_protos.generated.edgetran.v1.measurement_pb2_grpc import MeasurementServiceServicer

from edgetran_daemon import convert
from edgetran_daemon.measurement import Measurements

Context = grpc.aio.ServicerContext[Any, Any]


class MeasurementService(MeasurementServiceServicer):
    def __init__(self, measurements: Measurements, threads: int) -> None:
        self._measurements = measurements
        self._threads = threads

    async def Measure(
        self, request: MeasureRequest, context: Context
    ) -> AsyncGenerator[MeasureEvent, None]:
        events = self._measurements.measure(convert.measure_spec(request, self._threads))
        try:
            async for event in events:
                yield convert.measure_event(event)
        finally:
            await events.aclose()
