"""inference.GRPCInferenceService, the Open Inference Protocol v2."""

from __future__ import annotations

from typing import Any

import grpc
from edgetran_protos.errors import UnknownModel
from edgetran_protos.open_inference import SERVICE, message, methods

from edgetran_daemon import convert
from edgetran_daemon.deployments import Deployments
from edgetran_daemon.describe import daemon_version
from edgetran_daemon.emulation import BoardClock
from edgetran_daemon.serving import ServedModel, row_count

Context = grpc.aio.ServicerContext[Any, Any]

NAME = "edgetran-daemon"
VERSION = "1"  # the protocol's; what serves is known by its bundle's digest


class OpenInferenceService:
    def __init__(self, deployments: Deployments, clock: BoardClock) -> None:
        self._deployments = deployments
        self._clock = clock

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    getattr(self, name),
                    request_deserializer=request.FromString,
                    response_serializer=response.SerializeToString,
                )
                for name, (request, response) in methods().items()
            },
        )

    async def ServerLive(self, request: Any, context: Context) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def ServerReady(self, request: Any, context: Context) -> Any:
        ready = all(model.ready for model in self._deployments.served.values())
        return message("ServerReadyResponse")(ready=ready)

    async def ModelReady(self, request: Any, context: Context) -> Any:
        model = self._deployments.served.get(request.name)
        known = request.version in ("", VERSION)
        return message("ModelReadyResponse")(ready=known and model is not None and model.ready)

    async def ServerMetadata(self, request: Any, context: Context) -> Any:
        return message("ServerMetadataResponse")(name=NAME, version=daemon_version())

    async def ModelMetadata(self, request: Any, context: Context) -> Any:
        name, model = self._model(request.name, request.version)
        response = message("ModelMetadataResponse")(
            name=name, versions=[VERSION], platform=model.variant.name
        )
        convert.tensor_metadata(response.inputs, model.loaded.inputs)
        convert.tensor_metadata(response.outputs, model.loaded.outputs)
        return response

    async def ModelInfer(self, request: Any, context: Context) -> Any:
        name, model = self._model(request.model_name, request.model_version)
        inputs = convert.infer_inputs(request)
        ran = await model.infer(inputs)
        self._clock.charge(model.variant, row_count(inputs))
        return convert.infer_response(request, name, VERSION, ran.outputs)

    def _model(self, name: str, version: str) -> tuple[str, ServedModel]:
        """Raises UnknownModel."""
        if version not in ("", VERSION):
            raise UnknownModel(
                f"no version {version!r} of model {name!r}", hint=f"there is version {VERSION}"
            )
        return self._deployments.model(name)
