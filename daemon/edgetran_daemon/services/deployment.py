"""edgetran.v1.DeploymentService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, TypeVar

import grpc
from edgetran_protos.errors import UsageError
from edgetran_protos.generated.edgetran.v1 import deployment_pb2 as messages
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceServicer

from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.security.signatures import Signatures
from edgetran_daemon.services import convert
from edgetran_daemon.store.blobs import BlobStore

Context = grpc.aio.ServicerContext[Any, Any]
Result = TypeVar("Result")
LOOSE_ON_A_FULL_DISK_S = 600.0  # a bundle's blobs come one by one, and then it is deployed


class DeploymentService(DeploymentServiceServicer):
    def __init__(self, deployments: Deployments, blobs: BlobStore, signatures: Signatures) -> None:
        self._deployments = deployments
        self._blobs = blobs
        self._signatures = signatures

    async def MissingBlobs(
        self, request: messages.MissingBlobsRequest, context: Context
    ) -> messages.MissingBlobsResponse:
        missing = self._blobs.missing([blob.digest for blob in request.blobs])
        return messages.MissingBlobsResponse(
            missing=[messages.MissingBlob(digest=d, offset=n) for d, n in missing.items()]
        )

    async def PutBlob(
        self, requests: AsyncIterator[messages.PutBlobRequest], context: Context
    ) -> messages.PutBlobResponse:
        first = await _first(requests)
        if self._blobs.has(first.blob.digest):
            return messages.PutBlobResponse(size_bytes=first.blob.size_bytes)
        await self._make_room(first.blob.size_bytes - first.offset)
        with self._blobs.arriving(first.blob.digest, first.blob.size_bytes, first.offset) as blob:
            await _to_its_end(blob.write, first.chunk)
            async for request in requests:
                await _to_its_end(blob.write, request.chunk)
            return messages.PutBlobResponse(size_bytes=await _to_its_end(blob.finish))

    async def PutSignature(
        self, request: messages.PutSignatureRequest, context: Context
    ) -> messages.PutSignatureResponse:
        self._signatures.add(request.bundle_digest, request.signature)
        return messages.PutSignatureResponse()

    async def _make_room(self, more_bytes: int) -> None:
        """Blobs that no deployment names go before a new one is refused."""
        if more_bytes > self._blobs.room_bytes():
            await self._deployments.tidy(LOOSE_ON_A_FULL_DISK_S)

    async def Deploy(
        self, request: messages.DeployRequest, context: Context
    ) -> AsyncGenerator[messages.DeployEvent, None]:
        events = self._deployments.deploy(
            request.model,
            request.bundle_digest,
            request.variant,
            follow=request.follow,
            allow_older=request.allow_older,
        )
        try:
            async for event in events:
                yield convert.deploy_event(event)
        finally:
            await events.aclose()

    async def ListDeployments(
        self, request: messages.ListDeploymentsRequest, context: Context
    ) -> messages.ListDeploymentsResponse:
        records = self._deployments.list(request.history)
        return messages.ListDeploymentsResponse(deployments=map(convert.deployment, records))

    async def Rollback(
        self, request: messages.RollbackRequest, context: Context
    ) -> messages.Deployment:
        return convert.deployment(await self._deployments.rollback(request.model, request.reason))

    async def Remove(
        self, request: messages.RemoveRequest, context: Context
    ) -> messages.RemoveResponse:
        return messages.RemoveResponse(freed_bytes=await self._deployments.remove(request.model))

    async def Discard(
        self, request: messages.DiscardRequest, context: Context
    ) -> messages.DiscardResponse:
        freed = self._deployments.discard(request.bundle_digest)
        return messages.DiscardResponse(freed_bytes=freed)


async def _to_its_end(work: Callable[..., Result], *arguments: object) -> Result:
    """In a thread; when the client hangs up, its file must not close under the thread."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)  # nobody is left to hear of a failure
        raise


async def _first(requests: AsyncIterator[messages.PutBlobRequest]) -> messages.PutBlobRequest:
    async for request in requests:
        return request
    raise UsageError("the transfer carries no blob")
