"""grpc.health.v1 and server reflection, so that common tools can look in."""

from __future__ import annotations

import grpc
from edgetran_protos import open_inference
from edgetran_protos.generated.edgetran.v1 import (
    deployment_pb2,
    device_pb2,
    measurement_pb2,
    text_pb2,
)
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha import reflection, reflection_pb2

FILES = (deployment_pb2, device_pb2, measurement_pb2, text_pb2, health_pb2, reflection_pb2)
SERVICES = (
    "edgetran.v1.DeploymentService",
    "edgetran.v1.DeviceService",
    "edgetran.v1.MeasurementService",
    "edgetran.v1.TextService",
    open_inference.SERVICE,
)


class Health:
    """Serving from `ready` to `stopping`."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._servicer = health_aio.HealthServicer()
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
