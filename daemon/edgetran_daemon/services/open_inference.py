"""inference.GRPCInferenceService: the Open Inference Protocol v2 with Triton's extensions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Optional

import grpc
from edgetran_protos.errors import EdgeTranError, NotOffered, UnknownModel, UsageError
from edgetran_protos.open_inference import SERVICE, Method, message, methods

from edgetran_daemon.board.describe import daemon_version
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.measuring.emulation import BoardClock
from edgetran_daemon.security.callers import Caller, Callers
from edgetran_daemon.services import convert_models, convert_tensors
from edgetran_daemon.services.in_order import in_order, until
from edgetran_daemon.services.shared_tensors import SharedTensors, no_caller
from edgetran_daemon.serving.endpoints import (
    TEXT_SUFFIX,
    Endpoint,
    TensorEndpoint,
    TextEndpoint,
    model_of,
)
from edgetran_daemon.serving.shared_memory import Region, Regions

Context = grpc.aio.ServicerContext[Any, Any]

NAME = "edgetran-daemon"
VERSION = "1"  # the protocol's; what serves is known by its bundle's digest
EXTENSIONS = ("classification", "model_configuration", "model_repository", "statistics")
SHARED_MEMORY = "system_shared_memory"  # one more, where it is on
STREAM_AT_ONCE = 8  # requests of one stream under way
REASONS = {  # why a model of that state is not ready
    "serving": "its process is being started again",
    "unloaded": "unloaded; load it to serve it again",
}
FINAL = "triton_final_response"  # what Triton's clients look for in a stream


class OpenInferenceService:
    def __init__(
        self,
        deployments: Deployments,
        clock: BoardClock,
        stopping: asyncio.Event,
        most_bytes: int,
        callers: Optional[Callers] = None,
    ) -> None:
        """most_bytes: of a request; callers: who may use shared memory, None: nobody."""
        self._deployments = deployments
        self._clock = clock
        self._stopping = stopping
        self._most_bytes = most_bytes
        self._callers = callers
        self._regions = Regions()

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: self._handler(name, method) for name, method in methods().items()}
        )

    def _handler(self, name: str, method: Method) -> Any:
        make = (
            grpc.stream_stream_rpc_method_handler
            if method.streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            getattr(self, name),
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    async def ServerLive(self, request: Any, context: Context) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def ServerReady(self, request: Any, context: Context) -> Any:
        ready = all(model.ready for model in self._deployments.served.values())
        return message("ServerReadyResponse")(ready=ready)

    async def ModelReady(self, request: Any, context: Context) -> Any:
        model = self._deployments.served.get(model_of(request.name))
        known = request.version in ("", VERSION)
        return message("ModelReadyResponse")(ready=known and model is not None and model.ready)

    async def ServerMetadata(self, request: Any, context: Context) -> Any:
        return message("ServerMetadataResponse")(
            name=NAME,
            version=daemon_version(),
            extensions=[*EXTENSIONS, *([SHARED_MEMORY] if self._callers else ())],
        )

    async def ModelMetadata(self, request: Any, context: Context) -> Any:
        return convert_models.metadata(self._endpoint(request.name, request.version), VERSION)

    async def ModelConfig(self, request: Any, context: Context) -> Any:
        return convert_models.configuration(self._endpoint(request.name, request.version))

    async def ModelInfer(self, request: Any, context: Context) -> Any:
        endpoint = self._endpoint(request.model_name, request.model_version)
        shared = SharedTensors(self._regions, self._most_bytes, lambda: self._caller(context))
        inputs = convert_tensors.infer_inputs(request, shared)
        shared.expect(request.outputs)
        outputs = await endpoint.infer(inputs)
        return convert_tensors.infer_response(
            request, endpoint.name, VERSION, outputs, endpoint.labels, shared
        )

    async def ModelStreamInfer(
        self, requests: AsyncIterator[Any], context: Context
    ) -> AsyncGenerator[Any, None]:
        async def answer(request: Any) -> Any:
            response = message("ModelStreamInferResponse")()
            try:
                response.infer_response.CopyFrom(await self.ModelInfer(request, context))
            except EdgeTranError as exc:
                response.error_message = f"{exc} ({exc.hint})" if exc.hint else str(exc)
                response.infer_response.id = request.id
            response.infer_response.parameters[FINAL].bool_param = True
            return response

        answers = in_order(until(requests, self._stopping), answer, STREAM_AT_ONCE)
        try:
            async for one in answers:
                yield one
        finally:
            await answers.aclose()

    async def ModelStatistics(self, request: Any, context: Context) -> Any:
        asked = [request.name] if request.name else sorted(self._deployments.served)
        endpoints = [self._endpoint(name, request.version) for name in asked]
        return message("ModelStatisticsResponse")(
            model_stats=[
                convert_models.statistics(one.name, VERSION, one.model.statistics)
                for one in endpoints
            ]
        )

    async def RepositoryIndex(self, request: Any, context: Context) -> Any:
        response = message("RepositoryIndexResponse")()
        for record in self._deployments.list(history=False):
            served = self._deployments.served.get(record.model)
            ready = served is not None and served.ready
            if request.ready and not ready:
                continue
            reason = "" if ready else REASONS.get(record.state, record.reason)
            for name in (record.model, record.model + TEXT_SUFFIX):
                state = "READY" if ready else "UNAVAILABLE"
                response.models.add(name=name, version=VERSION, state=state, reason=reason)
        return response

    async def RepositoryModelLoad(self, request: Any, context: Context) -> Any:
        if request.parameters:
            raise UsageError(
                f"{sorted(request.parameters)[0]!r} cannot be given when a model is loaded",
                hint="models come to the board with `edgetran deploy`",
            )
        name = _named(request)
        await self._deployments.load(model_of(name))
        return message("RepositoryModelLoadResponse")(model_name=name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, context: Context) -> Any:
        name = _named(request)
        await self._deployments.unload(model_of(name))
        return message("RepositoryModelUnloadResponse")(model_name=name, isUnloaded=True)

    async def SystemSharedMemoryStatus(self, request: Any, context: Context) -> Any:
        found = self._regions.of(self._caller(context), request.name)
        kind = message("SystemSharedMemoryStatusResponse.RegionStatus")
        return message("SystemSharedMemoryStatusResponse")(
            regions={
                one.name: kind(
                    name=one.name, key=one.key, offset=one.offset, byte_size=one.size_bytes
                )
                for one in found
            }
        )

    async def SystemSharedMemoryRegister(self, request: Any, context: Context) -> Any:
        region = Region(request.name, request.key, request.offset, request.byte_size)
        self._regions.register(self._caller(context), region)
        return message("SystemSharedMemoryRegisterResponse")()

    async def SystemSharedMemoryUnregister(self, request: Any, context: Context) -> Any:
        self._regions.unregister(self._caller(context), request.name)
        return message("SystemSharedMemoryUnregisterResponse")()

    async def CudaSharedMemoryStatus(self, request: Any, context: Context) -> Any:
        raise _no_cuda()

    async def CudaSharedMemoryRegister(self, request: Any, context: Context) -> Any:
        raise _no_cuda()

    async def CudaSharedMemoryUnregister(self, request: Any, context: Context) -> Any:
        raise _no_cuda()

    def _caller(self, context: Context) -> Caller:
        """Whose shared memory a request may name. Raises NotOffered."""
        if self._callers is None:
            return no_caller()
        caller = self._callers.of(context.peer())
        if caller is None:
            raise NotOffered(
                "the system does not tell whose connection this is, so shared memory is refused",
                hint="listen on a Unix socket, or send the contents with the request",
            )
        return caller

    def _endpoint(self, name: str, version: str) -> Endpoint:
        """Raises UnknownModel, ModelUnloaded."""
        if version not in ("", VERSION):
            raise UnknownModel(
                f"no version {version!r} of model {name!r}", hint=f"there is version {VERSION}"
            )
        found, model = self._deployments.model(model_of(name))
        if name.endswith(TEXT_SUFFIX):
            return TextEndpoint(found + TEXT_SUFFIX, model, self._clock)
        return TensorEndpoint(found, model, self._clock)


def _no_cuda() -> NotOffered:
    return NotOffered(
        "CUDA shared memory is not offered", hint="register system shared memory instead"
    )


def _named(request: Any) -> str:
    """KServe's clients have the name in the field where Triton's have the repository."""
    name = str(request.model_name or request.repository_name)
    if not name:
        raise UsageError("which model?", hint="name it, e.g. from the repository's index")
    return name
