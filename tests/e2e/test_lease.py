"""A board for one client alone: held while it renews, free when it hangs, hangs up or is done."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
