"""A new model from its canary to its commit, or back: real workers, short watches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.deployment.ledger import Ledger, Record
from edgetran_daemon.deployment.rules import Rules, WatchRule
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import (
    BoardBusy,
    BoardError,
    CanaryFailed,
    DiskFull,
    OlderBundle,
    RolledBack,
)

LONG = Rules(watch=WatchRule(seconds=600.0, requests=5))
SHORT = Rules(watch=WatchRule(seconds=0.1))
AT_ONCE = Rules(watch=WatchRule(seconds=0.0))
HERE = "local:cpu"

Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path, tiny: ModuleType) -> Make:
    def made(seed: int, **options: Any) -> Bundle:
        bundle: Bundle = tiny.make(tmp_path / f"{seed}.tar", seed=seed, **options)
        return bundle

    return made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@contextlib.asynccontextmanager
async def daemon(state: Path, rules: Rules, *bundles: Bundle) -> AsyncIterator[Deployments]:
    blobs = BlobStore(state, reserve_bytes=0)
    for bundle in bundles:
        for blob in bundle.transfer_blobs():
            if not blobs.has(blob.digest):
                with blobs.arriving(blob.digest, blob.size_bytes, 0) as arrival:
                    arrival.write(bundle.read(blob.digest))
                    arrival.finish()
    ledger = Ledger(state / "deployments.json")
    deployments = Deployments(BundleStore(blobs), ledger, threads=1, rules=rules)
    try:
        await deployments.restore()
        yield deployments
    finally:
        await deployments.close()


async def deploy(board: Deployments, bundle: Bundle, model: str = "home", **options: Any) -> str:
    """The last event's detail."""
    events = board.deploy(model, bundle.digest, "", **options)
    return [event async for event in events][-1].detail


async def ask(board: Deployments, count: int = 1) -> str:
    """The digest of what answered."""
    _, model = board.model("home")
    for _ in range(count):
        await model.predict([("heat on",)])
    return model.bundle.digest


async def kill_worker(board: Deployments) -> None:
    _, model = board.model("home")
    assert model.worker_pid is not None
    os.kill(model.worker_pid, signal.SIGKILL)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came true")


def last(board: Deployments) -> Record:
    return board.list(history=True)[-1]


def run(work: Awaitable[Any]) -> Any:
    async def whole() -> Any:
        return await work

    return asyncio.run(whole())


def test_what_the_board_asks_itself_counts_for_nobody(state: Path, make: Make) -> None:
    """Neither probe nor canary commits the old model's watch, or shows in statistics."""
    first, second = make(0), make(1)

    async def work() -> None:
        async with daemon(state, LONG, first, second) as board:
            await deploy(board, first)
            _, old = board.model("home")
            assert old.statistics.executions == 0
            await ask(board, 2)
            events = board.deploy("home", second.digest, "")
            async for event in events:
                if event.step == "switch":  # the canary is over
                    break
            await events.aclose()
            assert (old.conduct.answered, old.statistics.executions, old.requests) == (2, 2, 2)
            assert old.statistics.success.count == 2

    run(work())


def test_enough_good_answers_commit(state: Path, make: Make) -> None:
    first = make(0)

    async def work() -> None:
        async with daemon(state, LONG, first) as board:
            await deploy(board, first)
            assert board.list(history=False)[0].reason == "on watch, not committed yet"
            await ask(board, 5)
            await until(lambda: last(board).state == "committed")
            assert last(board).reason == "5 requests answered, 0 failed"
            assert board.list(history=False)[0].reason == ""

    run(work())


def test_who_follows_hears_of_the_commit(state: Path, make: Make) -> None:
    first = make(0)

    async def work() -> None:
        async with daemon(state, SHORT, first) as board:
            assert await deploy(board, first, follow=True) == "0 requests answered, 0 failed"
            assert last(board).state == "committed"

    run(work())


def test_a_worker_that_dies_brings_the_old_model_back(state: Path, make: Make) -> None:
    first, second = make(0), make(1)

    async def work() -> None:
        async with daemon(state, LONG, first, second) as board:
            await deploy(board, first)
            follower = asyncio.ensure_future(deploy(board, second, follow=True))
            await until(lambda: board.served["home"].bundle.digest == second.digest)
            await kill_worker(board)
            with pytest.raises(RolledBack, match="died") as caught:
                await follower
            assert caught.value.hint
            assert await ask(board) == first.digest
            found = last(board)
            assert (found.bundle_digest, found.state) == (second.digest, "rolled-back")
            assert "died" in found.reason
        async with daemon(state, LONG) as board:
            assert await ask(board) == first.digest

    run(work())


def test_with_nothing_to_go_back_to_it_stays(state: Path, make: Make) -> None:
    first = make(0)

    async def work() -> None:
        async with daemon(state, LONG, first) as board:
            await deploy(board, first)
            await kill_worker(board)
            await until(lambda: last(board).state == "committed")
            assert "nothing served before it" in last(board).reason
            assert await ask(board) == first.digest

    run(work())


def test_a_watch_begins_anew_after_a_restart(state: Path, make: Make) -> None:
    first, second = make(0), make(1)

    async def work() -> None:
        async with daemon(state, LONG, first, second) as board:
            await deploy(board, first)
            await deploy(board, second)
        async with daemon(state, LONG) as board:
            await kill_worker(board)
            await until(lambda: last(board).state == "rolled-back")
            assert await ask(board) == first.digest

    run(work())


def test_what_never_proved_itself_is_nothing_to_go_back_to(state: Path, make: Make) -> None:
    first, second, third = make(0), make(1), make(2)

    async def work() -> None:
        async with daemon(state, LONG, first, second, third) as board:
            await deploy(board, first)
            await deploy(board, second)
            await deploy(board, third)
            slots = [(r.bundle_digest, r.state) for r in board.list(history=True)]
            assert slots == [(third.digest, "serving"), (first.digest, "previous")]

    run(work())


def test_followers_of_a_watch_that_is_cut_short_are_told(state: Path, make: Make) -> None:
    first, second = make(0), make(1)

    async def work() -> None:
        async with daemon(state, LONG, first, second) as board:
            follower = asyncio.ensure_future(deploy(board, first, follow=True))
            await until(lambda: "home" in board.served)
            await deploy(board, second)
            with pytest.raises(BoardError, match="cut short"):
                await follower
            assert await ask(board) == second.digest

    run(work())


@pytest.mark.parametrize("leaving", ["unload", "remove"])
def test_followers_of_a_model_that_is_taken_away_are_told_at_once(
    state: Path, make: Make, leaving: str
) -> None:
    first = make(0)

    async def work() -> None:
        async with daemon(state, LONG, first) as board:
            follower = asyncio.ensure_future(deploy(board, first, follow=True))
            await until(lambda: "home" in board.served)
            await getattr(board, leaving)("home")
            with pytest.raises(BoardError, match="cut short"):
                await follower

    run(work())


def test_a_broken_promise_is_seen_before_the_switch(state: Path, make: Make) -> None:
    first, slow = make(0), make(1, p99_s=1e-9)
    rules = Rules(watch=LONG.watch, place=HERE)

    async def work() -> None:
        async with daemon(state, rules, first, slow) as board:
            await deploy(board, first)
            await ask(board, 3)  # texts for the new one to try
            with pytest.raises(CanaryFailed, match="promised") as caught:
                await deploy(board, slow)
            assert caught.value.hint
            assert await ask(board) == first.digest
            failed = [r for r in board.list(history=True) if r.state == "failed"]
            assert [r.bundle_digest for r in failed] == [slow.digest]

    run(work())


def test_promises_that_hold_here_or_are_not_for_here(state: Path, make: Make) -> None:
    first, kept, slow = make(0), make(1, p99_s=60.0), make(2, p99_s=1e-9)

    async def work() -> None:
        async with daemon(state, Rules(watch=LONG.watch, place=HERE), first, kept, slow) as board:
            await deploy(board, first)
            await deploy(board, kept)
            assert await ask(board) == kept.digest
        async with daemon(state, Rules(watch=LONG.watch, place="rpi4:cpu"), slow) as board:
            await deploy(board, slow)
            assert await ask(board) == slow.digest

    run(work())


def test_a_board_too_busy_for_the_old_model_says_nothing_against_the_new(
    state: Path, make: Make
) -> None:
    """Neither the canary nor the watch: both models are late."""
    late, later = make(0, p99_s=1e-9), make(1, p99_s=1e-9)

    async def work() -> None:
        async with daemon(state, Rules(watch=LONG.watch, place=HERE), late, later) as board:
            await deploy(board, late)  # nothing else could serve
            await deploy(board, later)
            await ask(board, 5)
            await until(lambda: last(board).state == "committed")
            assert await ask(board) == later.digest

    run(work())


def test_older_bundles_are_refused_unless_allowed(state: Path, make: Make) -> None:
    old, new = make(0, sequence=4), make(1, sequence=5)

    async def work() -> None:
        async with daemon(state, SHORT, old, new) as board:
            await deploy(board, new, follow=True)
            with pytest.raises(OlderBundle, match="5 was committed") as caught:
                await deploy(board, old)
            assert "allow" in caught.value.hint
            await board.remove("home")
        async with daemon(state, SHORT, old, new) as board:
            with pytest.raises(OlderBundle):
                await deploy(board, old)
            await deploy(board, old, "other")
            await deploy(board, old, allow_older=True)
            assert await ask(board) == old.digest

    run(work())


def test_an_uncommitted_bundle_sets_no_floor(state: Path, make: Make) -> None:
    old, new = make(0, sequence=4), make(1, sequence=5)

    async def work() -> None:
        async with daemon(state, LONG, old, new) as board:
            await deploy(board, new)
            await deploy(board, old)
            assert await ask(board) == old.digest

    run(work())


def test_what_a_full_disk_keeps_from_serving_sets_no_floor(
    small_disk: Callable[[int], Any], make: Make
) -> None:
    disk = small_disk(1 << 20)
    old, new = make(0, sequence=4), make(1, sequence=5)

    async def work() -> None:
        async with daemon(disk.path, AT_ONCE, old, new) as board:
            await deploy(board, old)
            disk.fill()
            with pytest.raises(DiskFull):
                await deploy(board, new)
            disk.make_room()
            await deploy(board, old)
            assert await ask(board) == old.digest

    run(work())


def test_in_strict_order_nothing_older_ever(state: Path, make: Make) -> None:
    old, new = make(0, sequence=4), make(1, sequence=5)
    strict = Rules(watch=SHORT.watch, strict_order=True)

    async def work() -> None:
        async with daemon(state, strict, old, new) as board:
            await deploy(board, old, follow=True)
            await deploy(board, new, follow=True)
            with pytest.raises(OlderBundle):
                await deploy(board, old, allow_older=True)
            with pytest.raises(OlderBundle):
                await board.rollback("home", "by hand")
            assert await ask(board) == new.digest

    run(work())


def test_without_a_watch_a_switch_is_final(state: Path, make: Make) -> None:
    first = make(0)

    async def work() -> None:
        async with daemon(state, AT_ONCE, first) as board:
            assert await deploy(board, first, follow=True) == "serving"
            assert board.list(history=False)[0].reason == ""

    run(work())


def test_a_board_has_so_many_models(state: Path, make: Make) -> None:
    first, second = make(0), make(1)

    async def work() -> None:
        async with daemon(state, Rules(watch=SHORT.watch, max_models=1), first, second) as board:
            await deploy(board, first)
            with pytest.raises(BoardBusy, match="limit") as caught:
                await deploy(board, second, "other")
            assert "home" in caught.value.hint
            await deploy(board, second)

    run(work())
