"""edgetran.v1.TextService."""

from __future__ import annotations

from typing import Any

import grpc
from edgetran_protos.generated.edgetran.v1.text_pb2 import PredictRequest, PredictResponse
from edgetran_protos.generated.edgetran.v1.text_pb2_grpc import TextServiceServicer

from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.measuring.emulation import BoardClock
from edgetran_daemon.services import convert

Context = grpc.aio.ServicerContext[Any, Any]


class TextService(TextServiceServicer):
    def __init__(self, deployments: Deployments, clock: BoardClock) -> None:
        self._deployments = deployments
        self._clock = clock

    async def Predict(self, request: PredictRequest, context: Context) -> PredictResponse:
        name, model = self._deployments.model(request.model)
        answer = await model.predict(convert.texts(request))
        charge = self._clock.charge(model.card, model.variant, len(answer.predictions))
        return convert.predict_response(
            name, model.bundle.digest, model.variant.name, answer, charge
        )
