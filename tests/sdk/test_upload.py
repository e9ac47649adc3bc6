"""A bundle arrives whole over a link that breaks; a real server on loopback breaks it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from edgetran import (
    AsyncBoard,
    Board,
    BoardBusy,
    BoardError,
    BoardUnreachable,
    Bundle,
    BundleCorrupt,
    Progress,
    UsageError,
    upload,
)
from edgetran.progress import OnProgress, ignore
from edgetran_protos.bundle import (
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    BundleCard,
    Golden,
    Variant,
    Work,
    digest_of,
    write_bundle,
)
from edgetran_protos.errors import to_trailers
from edgetran_protos.generated.edgetran.v1 import deployment_pb2 as pb
from edgetran_protos.generated.edgetran.v1 import deployment_pb2_grpc as services

GRAPH = bytes(range(256)) * 4096 * 3 + b"end"  # a little over 3 MiB: four chunks


@dataclass
class FlakyStore(services.DeploymentServiceServicer):
    """Keeps what arrives; drops the connection after `break_after` bytes, `breaks` times."""

    break_after: int = 1 << 40
    breaks: int = 0
    refuse: bool = False
    busy: int = 0  # times that another's transfer is in the way
    blobs: dict[str, bytes] = field(default_factory=dict)
    received: int = 0

    def MissingBlobs(self, request: pb.MissingBlobsRequest, context: Any) -> Any:
        missing = [
            pb.MissingBlob(digest=blob.digest, offset=len(self.blobs.get(blob.digest, b"")))
            for blob in request.blobs
            if len(self.blobs.get(blob.digest, b"")) < blob.size_bytes
        ]
        return pb.MissingBlobsResponse(missing=missing)

    def PutBlob(self, requests: Iterator[pb.PutBlobRequest], context: Any) -> Any:
        first = next(requests)
        if self.busy:
            self.busy -= 1
            error = BoardBusy("another sends it", hint="try again")
            context.set_trailing_metadata(to_trailers(error))
            context.abort(error.status, str(error))
        digest, size = first.blob.digest, first.blob.size_bytes
        assert first.offset == len(self.blobs.get(digest, b""))
        if self.breaks and self.break_after == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the link broke")
        taken = self._keep(digest, first.chunk)
        for request in requests:
            if self.breaks and taken >= self.break_after:
                self.breaks -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the link broke")
            taken += self._keep(digest, request.chunk)
        if self.refuse or hashlib.sha256(self.blobs[digest]).hexdigest() not in digest:
            if not self.refuse:
                del self.blobs[digest]
            broken = BundleCorrupt(f"{digest} arrived broken", hint="send it again")
            context.set_trailing_metadata(to_trailers(broken))
            context.abort(broken.status, str(broken))
        return pb.PutBlobResponse(size_bytes=size)

    def Remove(self, request: pb.RemoveRequest, context: Any) -> Any:
        time.sleep(0.3)  # until the model has answered what came before
        return pb.RemoveResponse(freed_bytes=7)

    def _keep(self, digest: str, chunk: bytes) -> int:
        self.blobs[digest] = self.blobs.get(digest, b"") + chunk
        self.received += len(chunk)
        return len(chunk)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    work = Work(1e6, 0, 1e3, 1e3, 0, 10)
    graph = Variant("onnxruntime-fp32", "onnxruntime", "fp32", digest_of(GRAPH), 1, work, 0.0)
    card = BundleCard(
        name="toy",
        task="classification",
        labels=["no", "yes"],
        sequence_length=8,
        tokenizer_digest=digest_of(b"{}"),
        architecture={},
        architecture_id="0",
        variants=[graph],
        golden=Golden([], [], [], [], {}, 1e-3),
    )
    files = {
        "model.onnx": (MEDIA_WEIGHTS, GRAPH),
        "tokenizer.json": (MEDIA_WEIGHT_CONFIG, b"{}"),
    }
    return write_bundle(tmp_path / "toy.tar", card, files)


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore()


class FromAsyncio(Board):
    """Sends as `AsyncBoard` does; all else as ever."""

    def upload(self, bundle: Bundle, on_progress: OnProgress = ignore) -> None:
        async def send() -> None:
            async with AsyncBoard(self.address) as board:
                await board.upload(bundle, on_progress)

        asyncio.run(send())


@pytest.fixture(params=[Board, FromAsyncio])
def board(
    request: pytest.FixtureRequest, store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Board]:
    monkeypatch.setattr(upload, "PAUSES_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(upload, "BUSY_PAUSES_S", (0.01,) * 5)
    server = grpc.server(ThreadPoolExecutor(2))
    services.add_DeploymentServiceServicer_to_server(store, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with request.param(f"127.0.0.1:{port}") as board:
        yield board
    server.stop(None).wait()


def arrived(store: FlakyStore, bundle: Bundle) -> bool:
    return store.blobs == {
        blob.digest: bundle.read(blob.digest) for blob in bundle.transfer_blobs()
    }


def test_everything_arrives_and_progress_only_grows(
    board: Board, store: FlakyStore, bundle: Bundle
) -> None:
    events: list[Progress] = []
    board.upload(bundle, events.append)
    assert arrived(store, bundle)
    assert store.received == bundle.size_bytes
    assert [e.done for e in events] == sorted(e.done for e in events)
    assert events[-1].done == events[-1].total == bundle.size_bytes


def test_what_is_there_is_not_sent_again(board: Board, store: FlakyStore, bundle: Bundle) -> None:
    board.upload(bundle)
    board.upload(bundle)
    assert store.received == bundle.size_bytes


def test_a_broken_link_is_resumed_where_it_stopped(
    board: Board, store: FlakyStore, bundle: Bundle
) -> None:
    store.break_after, store.breaks = 1 << 20, 3
    board.upload(bundle)
    assert arrived(store, bundle)
    assert store.received == bundle.size_bytes  # nothing twice


def test_bytes_that_rotted_on_the_board_are_sent_again(
    board: Board, store: FlakyStore, bundle: Bundle
) -> None:
    store.blobs[digest_of(GRAPH)] = b"\0" * 5000  # what a power cut left of an earlier transfer
    events: list[Progress] = []
    board.upload(bundle, events.append)
    assert arrived(store, bundle)
    assert events[-1].done == bundle.size_bytes


def test_a_link_that_keeps_breaking_is_given_up(
    board: Board, store: FlakyStore, bundle: Bundle
) -> None:
    store.break_after, store.breaks = 0, 99
    with pytest.raises(BoardUnreachable, match="the link broke"):
        board.upload(bundle)


def test_who_finds_another_sending_the_same_waits_for_it(
    board: Board, store: FlakyStore, bundle: Bundle
) -> None:
    store.busy = 5
    board.upload(bundle)
    assert arrived(store, bundle)
    store.blobs.clear()
    store.busy = 99
    with pytest.raises(BoardBusy, match="another sends it"):
        board.upload(bundle)


def test_what_the_board_refuses_is_not_tried_again(
    board: Board, store: FlakyStore, bundle: Bundle
) -> None:
    store.refuse = True
    with pytest.raises(BundleCorrupt, match="arrived broken") as caught:
        board.upload(bundle)
    assert caught.value.hint == "send it again"
    assert store.received <= bundle.size_bytes


def test_a_removal_may_take_longer_than_a_question(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetran.board.ASK_S", 0.1)
    monkeypatch.setattr("edgetran.asynchronous.ASK_S", 0.1)

    async def removed() -> int:
        async with AsyncBoard(board.address) as same:
            return await same.remove("home")

    assert board.remove("home") == 7
    assert asyncio.run(removed()) == 7


def test_what_the_daemon_does_not_offer_is_said(board: Board) -> None:
    with pytest.raises(Exception, match="not to this request") as caught:
        board.describe()
    assert "version" in getattr(caught.value, "hint", "")


def test_a_closed_board_says_so(bundle: Bundle) -> None:
    board = Board("127.0.0.1:1")
    board.close()
    asked: list[Callable[[], object]] = [
        lambda: board.upload(bundle),
        lambda: next(board.telemetry()),
        lambda: board.measure([(bundle.digest, None)]),
        lambda: board.lease(wait=True).__enter__(),
    ]
    for call in asked:
        with pytest.raises(BoardError, match="is closed") as caught:
            call()
        assert caught.value.hint


def test_a_board_for_asyncio_needs_a_loop_that_runs() -> None:
    with pytest.raises(UsageError, match="event loop") as caught:
        AsyncBoard("127.0.0.1:1")
    assert "connect_async" in caught.value.hint


def test_a_closed_board_of_asyncio_says_so_too(bundle: Bundle) -> None:
    async def work() -> None:
        board = AsyncBoard("127.0.0.1:1")
        await board.close()
        asked: list[Awaitable[object]] = [
            board.upload(bundle),
            board.telemetry().__anext__(),
            board.predict(["on"]),
            board.measure([(bundle.digest, None)]),
            board.lease(wait=True).__aenter__(),
        ]
        for call in asked:
            with pytest.raises(BoardError, match="is closed") as caught:
                await call
            assert caught.value.hint

    asyncio.run(work())
