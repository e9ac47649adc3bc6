"""A campaign over several boards survives the death of a board, of the host and a hung client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgetran_host.surrogates.rows import read_rows

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
DESIGNS = [
    {"l": 1, "h": [128], "o": [["sa_sdp_64", kind]], "f": [[width]]}
    for kind, width in (("sa_sdp_64", 256), ("l_dft_64", 256), ("c_5_64", 512), ("sa_wma_64", 512))
]
HUNG = """
import os, signal, sys
import edgetran
board = edgetran.connect(sys.argv[1])
with board.lease(ttl_s=2.0, holder="the hung one"):
    print("leased", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


class Lab:
    """Daemons that can be killed and come back at their old address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *options: str) -> str:
        """name: ends with the port."""
        state, ready = self._folder / name.replace(":", "-"), self._folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "edgetran_daemon", "--listen", name, "--threads", "1"]
        command += ["--state", str(state), "--ready-file", str(ready), *options]
        self._running[name] = subprocess.Popen(command)
        until(ready.exists, "the daemon is ready")
        return name

    def kill(self, name: str) -> None:
        self._running[name].kill()
        self._running[name].wait()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    found = Lab(tmp_path)
    yield found
    found.close()


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.05)


def free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def command(folder: Path, targets: list[str], *options: str) -> list[str]:
    designs = folder / "designs.json"
    designs.write_text(json.dumps(DESIGNS))
    words = [sys.executable, "-m", "edgetran_host.cli.main", "campaign", "--json"]
    words += ["--designs", str(designs), "--campaign", str(folder / "lab")]
    words += ["--length", "16", "--blocks", "1", "--runs", "3", "--attempts", "1", *options]
    return words + [word for target in targets for word in ("--target", target)]


def cells(folder: Path, target: str) -> dict[str, int]:
    """Each cell's file and when it was written."""
    found = (folder / "lab" / "cells" / target.replace(":", "-")).glob("*.json")
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_a_board_dies_and_comes_back_and_so_does_the_host(lab: Lab, tmp_path: Path) -> None:
    nano = lab.start(free_address(), "--emulate", "nano")
    mortal = lab.start(free_address(), "--emulate", "rpi4")
    here = lab.start(free_address())
    targets = [nano, mortal, here]
    log = tmp_path / "progress"
    with open(log, "wb") as told:
        host = subprocess.Popen(command(tmp_path, targets), stderr=told)
    try:
        until(lambda: len(cells(tmp_path, mortal)) > 0, "the board has measured something")
        lab.kill(mortal)
        assert len(cells(tmp_path, mortal)) < len(DESIGNS)
        until(lambda: len(cells(tmp_path, nano)) == len(DESIGNS), "the others go on")
        until(lambda: "again in" in log.read_text(), "the dead board is reported")
        assert f'"{mortal}"' in log.read_text()
    finally:
        host.kill()
        host.wait()
    before = {target: cells(tmp_path, target) for target in targets}
    lab.start(mortal, "--emulate", "rpi4")
    ended = subprocess.run(command(tmp_path, targets), capture_output=True, text=True, check=True)
    for outcome, target in zip(json.loads(ended.stdout), targets):
        assert (outcome["target"], outcome["measured"], outcome["missing"]) == (target, 4, 0)
        assert before[target].items() <= cells(tmp_path, target).items(), "nothing twice"
        data = Path(outcome["data"])
        rows = json.loads(data.read_text())
        assert len(rows) == len(DESIGNS) - outcome["invalid"]
        if target != here:  # three runs on a busy machine may have no valid verdict
            assert [row["order"] for row in rows] == [0, 1, 2, 3]
            assert {row["modelled"] for row in rows} == {True}
            assert len(set(read_rows([data]).ids)) == len(DESIGNS)
    again = command(tmp_path, targets, "--seed", "1", "--length", "32")
    refused = subprocess.run(again, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "sequence_length" in refused.stderr


def test_a_hung_client_costs_a_time_to_live_and_a_dead_board_only_itself(
    lab: Lab, tmp_path: Path
) -> None:
    nano, nobody = lab.start(free_address(), "--emulate", "nano"), free_address()
    hung = subprocess.Popen([sys.executable, "-c", HUNG, nano], stdout=subprocess.PIPE)
    try:
        assert hung.stdout is not None
        assert hung.stdout.readline() == b"leased\n"
        words = command(tmp_path, [nano, nobody], "--patience", "0")
        ended = subprocess.run(words, capture_output=True, text=True)
        assert ended.returncode == 1
        assert f"{nobody} lacks 4" in ended.stderr
        assert len(cells(tmp_path, nano)) == len(DESIGNS)
        assert not cells(tmp_path, nobody)
    finally:
        os.kill(hung.pid, signal.SIGKILL)
        hung.wait()
