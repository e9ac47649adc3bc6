"""Which model serves: what a failed, a full-disk or a rotten deployment leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.deployment.ledger import Ledger
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import (
    BundleError,
    BundleMissing,
    DiskFull,
    ModelUnloaded,
    ProbeFailed,
    UnknownModel,
    UsageError,
)

STEPS = ["verify", "stage", "probe", "canary", "switch", "watch"]
TEXTS = [("turn on the light",)]
PATIENCE_S = 10.0


def blob_store(state: Path, *bundles: Bundle) -> BlobStore:
    blobs = BlobStore(state, reserve_bytes=0)
    for bundle in bundles:
        for blob in bundle.transfer_blobs():
            if not blobs.has(blob.digest):
                with blobs.arriving(blob.digest, blob.size_bytes, 0) as arrival:
                    arrival.write(bundle.read(blob.digest))
                    arrival.finish()
    return blobs


@contextlib.asynccontextmanager
async def daemon(state: Path, *bundles: Bundle) -> AsyncIterator[Deployments]:
    """The deployments of one daemon's life, restored at its start."""
    store = BundleStore(blob_store(state, *bundles))
    deployments = Deployments(store, Ledger(state / "deployments.json"), threads=1)
    try:
        await deployments.restore()
        yield deployments
    finally:
        await deployments.close()


async def deploy(deployments: Deployments, bundle: Bundle, model: str = "home") -> list[str]:
    return [event.step async for event in deployments.deploy(model, bundle.digest, "")]


async def served(deployments: Deployments, model: str = "home") -> str:
    """The digest of what answers under the name."""
    _, found = deployments.model(model)
    assert len((await found.predict(TEXTS)).predictions) == 1
    return found.bundle.digest


def states(deployments: Deployments) -> list[tuple[str, str]]:
    return [(r.bundle_digest, r.state) for r in deployments.list(history=True)]


@pytest.fixture
def first(tmp_path: Path, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path / "first.tar")
    return made


@pytest.fixture
def second(tmp_path: Path, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path / "second.tar", seed=1)
    return made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def run(work: Awaitable[Any]) -> Any:
    async def whole() -> Any:
        return await work

    return asyncio.run(whole())


def test_a_life_of_a_name(state: Path, first: Bundle, second: Bundle) -> None:
    async def work() -> None:
        async with daemon(state, first, second) as board:
            with pytest.raises(UnknownModel):
                board.model("")
            assert await deploy(board, first) == STEPS
            with pytest.raises(UsageError, match="before"):
                await board.rollback("home", "")
            await deploy(board, second)
            assert states(board) == [(second.digest, "serving"), (first.digest, "previous")]
            record = await board.rollback("home", "worse")
            assert record.bundle_digest == first.digest == await served(board)
            await deploy(board, second, "other")
            with pytest.raises(UnknownModel, match="which model"):
                board.model("")
        async with daemon(state) as board:
            assert (await served(board), await served(board, "other")) == (
                first.digest,
                second.digest,
            )
            assert await board.remove("home") > 0
            assert await served(board, "other") == second.digest
            with pytest.raises(UnknownModel):
                await board.remove("home")

    run(work())


def test_requests_during_a_switch_are_all_answered(
    state: Path, first: Bundle, second: Bundle
) -> None:
    async def work() -> None:
        async with daemon(state, first, second) as board:
            await deploy(board, first)
            answers: list[str] = []
            done = asyncio.Event()

            async def ask() -> None:
                while not done.is_set():
                    answers.append(await served(board))

            askers = [asyncio.ensure_future(ask()) for _ in range(4)]
            for bundle in (second, first, second):
                await deploy(board, bundle)
            done.set()
            await asyncio.gather(*askers)
            assert set(answers) == {first.digest, second.digest}

    run(work())


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", "a" * 101, "a b", "\n"])
def test_names_that_are_none(state: Path, first: Bundle, name: str) -> None:
    async def work() -> None:
        async with daemon(state, first) as board:
            with pytest.raises(UsageError) as caught:
                await deploy(board, first, name)
            assert caught.value.hint
            assert states(board) == []

    run(work())


def test_what_is_not_there_changes_nothing(state: Path, first: Bundle, second: Bundle) -> None:
    async def work() -> None:
        async with daemon(state, first) as board:
            await deploy(board, first)
            with pytest.raises(BundleMissing):
                await deploy(board, second)
            with pytest.raises(BundleError):
                _ = [event async for event in board.deploy("home", "x" * 10**6, "")]
            assert await served(board) == first.digest
            assert states(board) == [(first.digest, "serving"), (second.digest, "failed")]

    run(work())


def test_a_model_that_gives_other_answers_never_serves(
    state: Path, first: Bundle, tmp_path: Path, tiny: ModuleType
) -> None:
    wrong = tiny.make(tmp_path / "wrong", seed=1, wrong_by=1.0)

    async def work() -> None:
        async with daemon(state, first, wrong) as board:
            await deploy(board, first)
            with pytest.raises(ProbeFailed, match="differ"):
                await deploy(board, wrong)
            assert await served(board) == first.digest
        async with daemon(state) as board:
            assert states(board) == [(first.digest, "serving"), (wrong.digest, "failed")]

    run(work())


def test_a_full_disk_leaves_the_old_model_serving(
    small_disk: Callable[[int], Any],
    first: Bundle,
    second: Bundle,
    tmp_path: Path,
    tiny: ModuleType,
) -> None:
    disk = small_disk(1 << 20)
    wrong = tiny.make(tmp_path / "wrong", seed=2, wrong_by=1.0)

    async def work() -> None:
        async with daemon(disk.path, first, second, wrong) as board:
            await deploy(board, first)
            disk.fill()
            with pytest.raises(ProbeFailed):  # the reason, not that it cannot be written down
                await deploy(board, wrong)
            with pytest.raises(DiskFull) as caught:
                await deploy(board, second)
            assert caught.value.hint
            assert await served(board) == first.digest
        async with daemon(disk.path) as board:
            assert await served(board) == first.digest, "restored on the disk that is still full"
            disk.make_room()
            await deploy(board, second)
            assert await served(board) == second.digest

    run(work())


def test_an_unloaded_model_stays_deployed_and_away_until_it_is_loaded(
    state: Path, first: Bundle, second: Bundle
) -> None:
    async def work() -> None:
        async with daemon(state, first, second) as board:
            await deploy(board, first)
            await deploy(board, second)
            _, found = board.model("home")
            pid = found.worker_pid
            await board.unload("home")
            await board.unload("home")  # twice is once
            assert pid is not None
            assert not psutil.pid_exists(pid)
            with pytest.raises(ModelUnloaded):
                board.model("home")
        async with daemon(state) as board:  # the restart does not load it
            assert not board.served
            assert states(board) == [(second.digest, "unloaded"), (first.digest, "previous")]
            with pytest.raises(UsageError):
                board.discard(second.digest)
            await board.load("home")
            await board.load("home")
            assert await served(board) == second.digest
        async with daemon(state) as board:
            assert await served(board) == second.digest
            await board.unload("home")
            await board.rollback("home", "")  # what changes the slots also loads
            assert await served(board) == first.digest
            for change in (board.load, board.unload):
                with pytest.raises(UnknownModel):
                    await change("absent")

    run(work())


@pytest.mark.parametrize(("leaving", "left"), [("unload", ["unloaded"]), ("remove", [])])
def test_a_client_that_leaves_while_a_model_ends_leaves_no_process(
    state: Path, first: Bundle, leaving: str, left: list[str]
) -> None:
    others = set(psutil.Process().children())  # of tests before this one

    async def work() -> None:
        async with daemon(state, first) as board:
            await deploy(board, first)
            _, model = board.model("home")
            under_way = asyncio.ensure_future(model.predict(TEXTS * 500))
            asked = asyncio.ensure_future(getattr(board, leaving)("home"))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
            assert asked.cancelled()
            assert len((await under_way).predictions) == 500
            deadline = time.monotonic() + PATIENCE_S
            while set(psutil.Process().children()) - others and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            assert set(psutil.Process().children()) <= others
            assert [r.state for r in board.list(history=False)] == left

    run(work())


def test_loading_what_rotted_says_so_and_unloaded_it_stays(state: Path, first: Bundle) -> None:
    async def work() -> None:
        async with daemon(state, first) as board:
            await deploy(board, first)
            await board.unload("home")
            rot(state, first)
            with pytest.raises(BundleError):
                await board.load("home")
            assert states(board) == [(first.digest, "unloaded")]
            await board.remove("home")
            assert states(board) == [(first.digest, "removed")]

    run(work())


def test_on_a_full_disk_nothing_is_loaded_or_unloaded(
    small_disk: Callable[[int], Any], first: Bundle, second: Bundle
) -> None:
    disk = small_disk(1 << 20)

    async def work() -> None:
        async with daemon(disk.path, first, second) as board:
            await deploy(board, first, "off")
            await deploy(board, second, "on")
            await board.unload("off")
            workers = psutil.Process().children()
            disk.fill()
            with pytest.raises(DiskFull):
                await board.unload("on")
            with pytest.raises(DiskFull):
                await board.load("off")
            assert await served(board, "on") == second.digest
            assert psutil.Process().children() == workers, "what was staged is gone again"

    run(work())


def rot(state: Path, bundle: Bundle) -> None:
    name = bundle.card.variants[0].digest.partition(":")[2]
    (state / "blobs" / "sha256" / name).write_bytes(b"rotten")


def test_what_rotted_falls_back_to_what_served_before(
    state: Path, first: Bundle, second: Bundle
) -> None:
    async def work() -> None:
        async with daemon(state, first, second) as board:
            await deploy(board, first)
            await deploy(board, second)
        rot(state, second)
        async with daemon(state) as board:
            assert await served(board) == first.digest
            assert states(board) == [(first.digest, "serving"), (second.digest, "failed")]

    run(work())


def test_what_cannot_start_again_is_not_listed_as_serving(
    state: Path, first: Bundle, second: Bundle
) -> None:
    async def work() -> None:
        async with daemon(state, first, second) as board:
            await deploy(board, first, "rotten")
            await deploy(board, second, "sound")
        rot(state, first)
        async with daemon(state) as board:
            found = {r.model: (r.state, bool(r.reason)) for r in board.list(history=False)}
            assert found == {"rotten": ("failed", True), "sound": ("serving", True)}
            assert await served(board, "sound") == second.digest
            with pytest.raises(UnknownModel):
                board.model("rotten")
        async with daemon(state, first) as board:  # sent again, it serves at the next start
            assert await served(board, "rotten") == first.digest

    run(work())
