"""edgetran.v1.SignerService."""

from __future__ import annotations

from typing import Any

import grpc
from edgetran_protos.generated.edgetran.v1 import signers_pb2 as messages
from edgetran_protos.generated.edgetran.v1.signers_pb2_grpc import SignerServiceServicer

from edgetran_daemon.security.trusted_signers import TrustedSigners
from edgetran_daemon.services import convert

Context = grpc.aio.ServicerContext[Any, Any]


class SignerService(SignerServiceServicer):
    def __init__(self, signers: TrustedSigners, required: bool) -> None:
        self._signers = signers
        self._required = required

    async def ListSigners(
        self, request: messages.ListSignersRequest, context: Context
    ) -> messages.ListSignersResponse:
        found = map(convert.signer, self._signers.all())
        return messages.ListSignersResponse(signers=found, required=self._required)

    async def AddSigner(
        self, request: messages.AddSignerRequest, context: Context
    ) -> messages.AddSignerResponse:
        added = self._signers.add(request.name, request.pem, context.peer())
        return messages.AddSignerResponse(signers=map(convert.signer, added))

    async def RemoveSigner(
        self, request: messages.RemoveSignerRequest, context: Context
    ) -> messages.RemoveSignerResponse:
        self._signers.remove(request.name, request.revoke, context.peer())
        return messages.RemoveSignerResponse()
