"""grpc.health.v1 and server reflection, so that common tools can look in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Optional

import grpc
from edgetran_protos import open_inference
from edgetran_protos.generated.edgetran.v1 import (
    deployment_pb2,
    device_pb2,
    measurement_pb2,
    signers_pb2,
    text_pb2,
)
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection, reflection_pb2

Context = grpc.aio.ServicerContext[Any, Any]

LOOK_S = 0.2  # between two looks at a model that is watched
FILES = (
    deployment_pb2,
    device_pb2,
    measurement_pb2,
    signers_pb2,
    text_pb2,
    health_pb2,
    reflection_pb2,
)
SERVICES = (
    "edgetran.v1.DeploymentService",
    "edgetran.v1.DeviceService",
    "edgetran.v1.MeasurementService",
    "edgetran.v1.SignerService",
    "edgetran.v1.TextService",
    open_inference.SERVICE,
)


class HealthServicer(health_aio.HealthServicer):  # type: ignore[misc]
    """Services by their names, and models by theirs."""

    def __init__(self, model_ready: Callable[[str], Optional[bool]]) -> None:
        """model_ready: None of a name under which no model is deployed."""
        super().__init__()
        self._model_ready = model_ready
        self._stopping = False

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        status = self._model(request.service)
        if status is None:
            return await super().Check(request, context)
        return HealthCheckResponse(status=status)

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        if self._model(request.service) is None:
            await super().Watch(request, context)
            return
        told = None
        while True:
            status = self._model(request.service)
            now = HealthCheckResponse.SERVICE_UNKNOWN if status is None else status
            if now != told:
                await context.write(HealthCheckResponse(status=now))
                told = now
            await asyncio.sleep(LOOK_S)

    async def enter_graceful_shutdown(self) -> None:
        self._stopping = True
        await super().enter_graceful_shutdown()

    def _model(self, name: str) -> Optional[int]:
        ready = self._model_ready(name)
        if ready is None:
            return None
        good = ready and not self._stopping
        return int(HealthCheckResponse.SERVING if good else HealthCheckResponse.NOT_SERVING)


class Health:
    """Serving from `ready` to `stopping`."""

    def __init__(
        self, server: grpc.aio.Server, model_ready: Callable[[str], Optional[bool]]
    ) -> None:
        self._servicer = HealthServicer(model_ready)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        names = (*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server, _pool())

    async def ready(self) -> None:
        for name in ("", *SERVICES):
            await self._servicer.set(name, HealthCheckResponse.SERVING)

    async def stopping(self) -> None:
        await self._servicer.enter_graceful_shutdown()


def _pool() -> descriptor_pool.DescriptorPool:
    """Both packages: ours, and `inference`, which lives in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    for module in FILES:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in open_inference.FILES.file:
        pool.AddSerializedFile(descriptor_pb2.FileDescriptorProto.SerializeToString(file))
    return pool
