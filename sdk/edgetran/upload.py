"""A bundle onto a board: only what it lacks, from where a broken transfer stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import grpc
from edgetran_protos.bundle import CHUNK_BYTES, Blob, Bundle
from edgetran_protos.generated.edgetran.v1.deployment_pb2 import (
    BlobRef,
    MissingBlobsRequest,
    PutBlobRequest,
    PutSignatureRequest,
)
from edgetran_protos.generated.edgetran.v1.deployment_pb2_grpc import DeploymentServiceStub
from edgetran_protos.signing import signatures_of

from edgetran.channel import translated
from edgetran.errors import BoardBusy, BoardError, BoardUnreachable, BundleCorrupt
from edgetran.progress import OnProgress, Progress

STAGE = "upload"
PAUSES_S = (0.2, 1.0, 3.0)  # between tries that bring nothing new; one that does starts over
BUSY_PAUSES_S = (*PAUSES_S, *(10.0,) * 8)  # a board gives up a link that was lost after a minute
ASK_S = 30.0
SLOWEST_BYTES_S = 50_000  # a poor wireless link; slower counts as dead


class Upload:
    """One bundle's way onto one board."""

    def __init__(
        self,
        channel: grpc.Channel,
        address: str,
        bundle: Bundle,
        on_progress: OnProgress,
        fence: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """fence: metadata of the lease under which it is sent."""
        self._stub = DeploymentServiceStub(channel)
        self._address = address
        self._bundle = bundle
        self._on_progress = on_progress
        self._fence = fence
        self._total = float(sum(blob.size_bytes for blob in bundle.transfer_blobs()))
        self._arrived = 0.0  # what the board said it had when last asked

    def run(self) -> None:
        """Raises BoardUnreachable when the connection breaks and nothing more arrives, BoardBusy
        when another client, or a link that was lost, does not get on with the same blob.
        """
        tries, arrived = 0, -1.0
        while True:
            try:
                return self._once()
            except (BoardUnreachable, BoardBusy) as exc:
                if self._arrived > arrived:
                    tries, arrived = 0, self._arrived
                pauses_s = _pauses_s(exc)
                if tries >= len(pauses_s):
                    raise
                time.sleep(pauses_s[tries])
                tries += 1

    def _once(self) -> None:
        offsets = self._missing()
        blobs = self._bundle.transfer_blobs()
        lacking = [blob for blob in blobs if blob.digest in offsets]
        done = self._total - sum(blob.size_bytes - offsets[blob.digest] for blob in lacking)
        self._arrived = done
        self._on_progress(Progress(STAGE, done, self._total))
        for blob in lacking:
            self._put(blob, offsets[blob.digest], done)
            done += blob.size_bytes - offsets[blob.digest]
        for request in _signatures(self._bundle):
            with translated(self._address):
                self._stub.PutSignature(request, timeout=ASK_S, metadata=self._fence)
        self._on_progress(Progress(STAGE, self._total, self._total))

    def _missing(self) -> dict[str, int]:
        """digest -> bytes the board already has of it."""
        refs = [_ref(blob) for blob in self._bundle.transfer_blobs()]
        with translated(self._address):
            found = self._stub.MissingBlobs(MissingBlobsRequest(blobs=refs), timeout=ASK_S)
        return {blob.digest: blob.offset for blob in found.missing}

    def _put(self, blob: Blob, offset: int, done: float) -> None:
        try:
            self._send(blob, offset, done)
        except BundleCorrupt:
            if not offset:
                raise
            self._send(blob, 0, done - offset)  # what lay there was bad, and is gone now

    def _send(self, blob: Blob, offset: int, done: float) -> None:
        data = self._bundle.read(blob.digest)
        timeout_s = ASK_S + len(data) / SLOWEST_BYTES_S
        chunks = _chunks(blob, data, offset, done, self._total, self._on_progress)
        with translated(self._address):
            self._stub.PutBlob(chunks, timeout=timeout_s, metadata=self._fence)


class AsyncUpload:
    """The same on asyncio; a blob is read in a thread."""

    def __init__(
        self,
        stub: Any,
        address: str,
        bundle: Bundle,
        on_progress: OnProgress,
        fence: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._stub = stub
        self._address = address
        self._bundle = bundle
        self._on_progress = on_progress
        self._fence = fence
        self._total = float(sum(blob.size_bytes for blob in bundle.transfer_blobs()))
        self._arrived = 0.0

    async def run(self) -> None:
        """Raises BoardUnreachable when the connection breaks and nothing more arrives, BoardBusy
        when another client, or a link that was lost, does not get on with the same blob.
        """
        tries, arrived = 0, -1.0
        while True:
            try:
                return await self._once()
            except (BoardUnreachable, BoardBusy) as exc:
                if self._arrived > arrived:
                    tries, arrived = 0, self._arrived
                pauses_s = _pauses_s(exc)
                if tries >= len(pauses_s):
                    raise
                await asyncio.sleep(pauses_s[tries])
                tries += 1

    async def _once(self) -> None:
        offsets = await self._missing()
        lacking = [blob for blob in self._bundle.transfer_blobs() if blob.digest in offsets]
        done = self._total - sum(blob.size_bytes - offsets[blob.digest] for blob in lacking)
        self._arrived = done
        self._on_progress(Progress(STAGE, done, self._total))
        for blob in lacking:
            await self._put(blob, offsets[blob.digest], done)
            done += blob.size_bytes - offsets[blob.digest]
        for request in await asyncio.to_thread(_signatures, self._bundle):
            with translated(self._address):
                await self._stub.PutSignature(request, timeout=ASK_S, metadata=self._fence)
        self._on_progress(Progress(STAGE, self._total, self._total))

    async def missing_bytes(self) -> int:
        offsets = await self._missing()
        blobs = {blob.digest: blob for blob in self._bundle.transfer_blobs()}
        return sum(blobs[digest].size_bytes - at for digest, at in offsets.items())

    async def _missing(self) -> dict[str, int]:
        refs = [_ref(blob) for blob in self._bundle.transfer_blobs()]
        with translated(self._address):
            found = await self._stub.MissingBlobs(MissingBlobsRequest(blobs=refs), timeout=ASK_S)
        return {blob.digest: blob.offset for blob in found.missing}

    async def _put(self, blob: Blob, offset: int, done: float) -> None:
        try:
            await self._send(blob, offset, done)
        except BundleCorrupt:
            if not offset:
                raise
            await self._send(blob, 0, done - offset)  # what lay there was bad, and is gone now

    async def _send(self, blob: Blob, offset: int, done: float) -> None:
        data = await asyncio.to_thread(self._bundle.read, blob.digest)
        timeout_s = ASK_S + len(data) / SLOWEST_BYTES_S
        chunks = _apart(_chunks(blob, data, offset, done, self._total, self._on_progress))
        with translated(self._address):
            await self._stub.PutBlob(chunks, timeout=timeout_s, metadata=self._fence)


def _pauses_s(exc: BoardError) -> Sequence[float]:
    return BUSY_PAUSES_S if isinstance(exc, BoardBusy) else PAUSES_S


async def _apart(chunks: Iterator[PutBlobRequest]) -> AsyncIterator[PutBlobRequest]:
    for chunk in chunks:
        yield chunk


def _chunks(
    blob: Blob, data: bytes, offset: int, done: float, total: float, on_progress: OnProgress
) -> Iterator[PutBlobRequest]:
    head = data[offset : offset + CHUNK_BYTES]
    yield PutBlobRequest(blob=_ref(blob), offset=offset, chunk=head)
    for start in range(offset + CHUNK_BYTES, len(data), CHUNK_BYTES):
        on_progress(Progress(STAGE, done + start - offset, total, blob.file))
        yield PutBlobRequest(chunk=data[start : start + CHUNK_BYTES])


def _signatures(bundle: Bundle) -> list[PutSignatureRequest]:
    """They go last: the board keeps them beside the manifest."""
    return [
        PutSignatureRequest(bundle_digest=bundle.digest, signature=signature)
        for signature in signatures_of(bundle.path)
    ]


def _ref(blob: Blob) -> BlobRef:
    return BlobRef(digest=blob.digest, size_bytes=blob.size_bytes)
