"""A board for one client alone: held while it renews, free when it hangs, hangs up or is done."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import edgetran
import psutil
import pytest
from edgetran import Board, Bundle, Progress
from edgetran.board import Board as AnyBoard

START_S = 30.0
QUICK: dict[str, Any] = {"warmup_runs": 1, "runs": 3, "blocks": 1, "min_block_s": 0.01}
LONG: dict[str, Any] = {"warmup_runs": 1, "runs": 3, "blocks": 100, "min_block_s": 10.0}
HUNG = """
import os, signal, sys, time
import edgetran
with edgetran.connect(sys.argv[1]) as board, board.lease(ttl_s=1.0, holder="the hung one"):
    print("leased", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


class Daemon:
    def __init__(self, state: Path) -> None:
        ready = state / "ready.json"
        command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
        command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1"]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert self.process.poll() is None, "the daemon ended early"
            assert time.monotonic() < deadline, "the daemon is not ready"
            time.sleep(0.02)
        self.address = str(json.loads(ready.read_text())["address"])

    def await_no_workers(self) -> None:
        deadline = time.monotonic() + START_S
        while psutil.Process(self.process.pid).children():
            assert time.monotonic() < deadline, "workers are still there"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    found = Daemon(tmp_path_factory.mktemp("state"))
    yield found
    found.process.terminate()
    found.process.wait(20)


@pytest.fixture
def board(daemon: Daemon) -> Iterator[Board]:
    with edgetran.connect(daemon.address) as found:
        yield found


@pytest.fixture
def other(daemon: Daemon) -> Iterator[Board]:
    with edgetran.connect(daemon.address) as found:
        yield found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "tiny.tar")
    return made


def test_nobody_else_measures_and_it_is_renewed(board: Board, other: Board, bundle: Bundle) -> None:
    with board.lease(ttl_s=1.0, holder="me") as lease:
        time.sleep(2.5)
        with pytest.raises(edgetran.BoardBusy, match="leased by me"):
            other.measure([(bundle, None)], **QUICK)
        with pytest.raises(edgetran.BoardBusy), other.lease():
            pass
        assert board.measure([(bundle, None)], **QUICK)
        with pytest.raises(edgetran.BoardBusy), board.lease():
            pass  # somebody else's code, which is given the same board
        assert board.measure([(bundle, None)], **QUICK)
        first = lease.token
    assert other.measure([(bundle, None)], **QUICK)
    with other.lease() as lease:
        assert lease.token > first
    with pytest.raises(edgetran.UsageError), lease:
        pass


def test_a_lease_without_a_name_says_which_program(board: Board, other: Board) -> None:
    with board.lease(), pytest.raises(edgetran.BoardBusy, match=str(os.getpid())), other.lease():
        pass


def test_a_hung_client_loses_the_board_and_hears_of_it(daemon: Daemon, board: Board) -> None:
    command = [sys.executable, "-c", HUNG, daemon.address]
    hung = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert hung.stdout is not None
        assert hung.stdout.readline() == "leased\n"
        deadline = time.monotonic() + START_S
        while not leased(board):
            assert time.monotonic() < deadline, "the hung client still has the board"
            time.sleep(0.1)
        hung.send_signal(signal.SIGCONT)
        _, err = hung.communicate(timeout=START_S)
        assert hung.returncode == 1
        assert "LeaseLost" in err
    finally:
        hung.kill()
        hung.wait()


def leased(board: AnyBoard) -> bool:
    try:
        with board.lease():
            return True
    except edgetran.BoardBusy:
        return False


def test_a_listener_that_raises_stops_the_work(
    daemon: Daemon, board: Board, bundle: Bundle
) -> None:
    def give_up(event: Progress) -> None:
        if event.stage == "measure":
            raise KeyError("enough")

    with pytest.raises(KeyError):
        board.measure([(bundle, None)], on_progress=give_up, **LONG)
    daemon.await_no_workers()
    assert board.measure([(bundle, None)], **QUICK)


def test_asyncio(daemon: Daemon, board: Board, bundle: Bundle) -> None:
    board.upload(bundle)
    subjects = [(bundle.digest, None)]

    async def work() -> None:
        async with edgetran.connect_async(daemon.address) as mine:
            async with mine.lease(ttl_s=1.0):
                await asyncio.sleep(1.5)
                async with edgetran.connect_async(daemon.address) as theirs:
                    with pytest.raises(edgetran.BoardBusy):
                        await theirs.measure(subjects, **QUICK)
                (record,) = await mine.measure(subjects, **QUICK)
                assert record.bundle_digest == bundle.digest
                began = asyncio.Event()

                def listen(event: Progress) -> None:
                    if event.stage == "measure":
                        began.set()

                long = asyncio.ensure_future(mine.measure(subjects, on_progress=listen, **LONG))
                await began.wait()
                long.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await long
                await asyncio.to_thread(daemon.await_no_workers)
            assert await mine.measure(subjects, **QUICK)

    asyncio.run(work())
    daemon.await_no_workers()


def test_models_are_unloaded_and_loaded(daemon: Daemon, board: Board, bundle: Bundle) -> None:
    board.deploy(bundle, model="home")
    board.unload("home")
    daemon.await_no_workers()
    with pytest.raises(edgetran.ModelUnloaded):
        board.predict(["heat on"], model="home")
    assert [d.state for d in board.deployments()] == ["unloaded"]
    board.load("home")
    assert board.predict(["heat on"])

    async def work() -> None:
        async with edgetran.connect_async(daemon.address) as mine:
            await mine.unload("home")
            with pytest.raises(edgetran.ModelUnloaded):
                await mine.predict(["heat on"], model="home")
            await mine.load("home")
            assert await mine.predict(["heat on"])

    asyncio.run(work())
    assert board.remove("home") > 0


WAITING = """
import sys
import threading
import edgetran
board = edgetran.connect(sys.argv[1])
with board.lease(wait=True, holder=sys.argv[2], on_progress=lambda e: print("waits", flush=True)):
    pass
"""


def await_waiting(board: Board, holders: list[str]) -> None:
    deadline = time.monotonic() + START_S
    while [one.holder for one in board.leased().waiting] != holders:
        assert time.monotonic() < deadline, board.leased()
        time.sleep(0.02)


def test_the_queue_goes_by_priority_then_arrival(daemon: Daemon, board: Board) -> None:
    order: list[str] = []
    told: list[Progress] = []

    def wait(holder: str, priority: int) -> None:
        with edgetran.connect(daemon.address) as mine:
            wish = mine.lease(holder=holder, wait=True, priority=priority, on_progress=told.append)
            with wish:
                order.append(holder)

    with board.lease(holder="me"):
        queue: list[str] = []
        threads = []
        for holder, priority in (("first", 0), ("second", 0), ("urgent", 5), ("late", -1)):
            threads.append(threading.Thread(target=wait, args=(holder, priority)))
            threads[-1].start()
            queue.append(holder)
            queue.sort(key=["urgent", "first", "second", "late"].index)
            await_waiting(board, queue)
        state = board.leased()
        assert (state.holder, state.token) == ("me", board.lease_token)
    for thread in threads:
        thread.join(START_S)
    assert order == ["urgent", "first", "second", "late"]
    assert any("leased by me" in event.detail for event in told)
    assert any("ahead" in event.detail for event in told)


def test_a_waiter_that_vanishes_leaves_the_queue(daemon: Daemon, board: Board) -> None:
    with board.lease(holder="me"):
        command = [sys.executable, "-c", WAITING, daemon.address, "gone"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "waits\n"
            await_waiting(board, ["gone"])
            waiting.kill()
        await_waiting(board, [])
    with board.lease():
        pass


def test_asyncio_waits_too(daemon: Daemon, board: Board) -> None:
    async def work() -> None:
        async with edgetran.connect_async(daemon.address) as mine:
            with board.lease(holder="me"):
                waiting = asyncio.ensure_future(mine.lease(wait=True).__aenter__())
                while not (await mine.leased()).waiting:
                    await asyncio.sleep(0.02)
            lease = await waiting
            assert (await mine.leased()).token == lease.token
            await lease.__aexit__(None, None, None)
        assert board.leased().token == 0

    asyncio.run(work())


@contextmanager
def lease_lost_at_its_end(lease: edgetran.Lease) -> Iterator[None]:
    lease.__enter__()
    yield
    with pytest.raises(edgetran.LeaseLost):
        lease.__exit__(None, None, None)


def test_a_stale_token_changes_nothing(board: Board, other: Board, bundle: Bundle) -> None:
    board.deploy(bundle, model="fenced")
    lease = board.lease(ttl_s=60)
    with lease_lost_at_its_end(lease):
        other.release(other.leased().token)
        for change in (
            lambda: board.deploy(bundle, model="fenced"),
            lambda: board.remove("fenced"),
            lambda: board.unload("fenced"),
            lambda: board.rollback("fenced"),
            lambda: board.discard(bundle.digest),
            lambda: board.measure([(bundle.digest, None)], **QUICK),
        ):
            with pytest.raises(edgetran.LeaseLost):
                change()
    with other.lease(holder="you"):
        for change in (lambda: board.remove("fenced"), lambda: board.unload("fenced")):
            with pytest.raises(edgetran.BoardBusy, match="leased by you"):
                change()
        assert other.remove("fenced") >= 0


def test_a_token_from_before_a_restart_is_stale(
    tmp_path: Path, bundle: Bundle, tiny: ModuleType
) -> None:
    before = Daemon(tmp_path)
    with edgetran.connect(before.address) as board:
        lease = board.lease(ttl_s=3600)
        old = lease.__enter__().token
    before.process.kill()
    before.process.wait()
    (tmp_path / "ready.json").unlink()
    after = Daemon(tmp_path)
    try:
        with edgetran.connect(after.address) as board:
            with pytest.raises(edgetran.LeaseLost):
                board.release(old)
            with board.lease() as new:
                assert new.token > old
                with pytest.raises(edgetran.LeaseLost):
                    board.release(old)
                assert board.leased().token == new.token
    finally:
        after.process.terminate()
        after.process.wait(20)


def test_the_commands(daemon: Daemon, board: Board) -> None:
    edgetran_command = [sys.executable, "-m", "edgetran_host.cli.main", "device"]
    hold = [*edgetran_command, "lease", daemon.address, "--as", "the fan"]

    def ask(*words: str) -> str:
        command = [*edgetran_command, *words, daemon.address]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "free" in ask("queue")
    with subprocess.Popen(hold, stdout=subprocess.PIPE, text=True) as holding:
        assert holding.stdout is not None
        assert "is yours" in holding.stdout.readline()
        assert "leased by the fan" in ask("queue")
        holding.send_signal(signal.SIGINT)
        assert holding.wait(START_S) == 0
    assert board.leased().token == 0
    with subprocess.Popen(hold, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        holding.stdout.readline()
        assert "the fan is over" in ask("release")
        assert holding.wait(START_S) == 1
    with pytest.raises(subprocess.CalledProcessError):
        ask("release")
