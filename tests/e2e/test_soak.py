"""Minutes of mixed traffic over a bad network, with workers killed: nothing is lost or leaks.

EDGETRAN_SOAK_S: how long (600). The board lives at one end of a pair of virtual Ethernet
devices, the clients in a network namespace at the other; the link is narrowed until its queue
delays and drops packets, and taken down altogether now and then.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from edgetran.board import Board
from edgetran_protos.errors import ModelDown

SOAK_S = float(os.environ.get("EDGETRAN_SOAK_S", "600"))
WARM_SHARE = 0.5  # of it, before the first look: until then tables and pools grow to their size
CLIENT = Path(__file__).with_name("soak_client.py")
KINDS = ("texts", "texts", "tensors", "measure", "change", "look")
EXPECTED = {  # of clients whose link goes down and whose worker is killed
    "BoardUnreachable",
    "BoardBusy",  # one measurement at a time; a full queue
    "ModelDown",
    "ModelUnloaded",
    "RolledBack",  # the worker of a new model was killed while it was watched
    "CanaryFailed",
    "ProbeFailed",
    "UsageError",  # nothing to roll back to
}
OF_MEASURING = {"RuntimeFault"}  # its worker was killed: the figures are void
GROWTH = 0.01
LOOKS = 10
NARROW = ("rate", "2mbit", "burst", "4kb", "limit", "16kb")
START_S, QUIET_S, PATIENCE_S = 30.0, 3.0, 60.0


@dataclass(frozen=True)
class Held:
    """What the daemon has of the machine while nobody asks it for anything."""

    rss_bytes: float
    files: int
    workers: int
    blobs: int


@dataclass(frozen=True)
class Link:
    """Two ends of a virtual cable; the clients' is in a namespace of its own."""

    namespace: str
    device: str
    address: str

    def do(self, *words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, text=True)

    def narrow(self) -> None:
        self.do("tc", "qdisc", "replace", "dev", self.device, "root", "tbf", *NARROW)

    def widen(self) -> None:
        self.do("tc", "qdisc", "del", "dev", self.device, "root")

    def cut(self) -> None:
        self.do("ip", "link", "set", self.device, "down")

    def mend(self) -> None:
        self.do("ip", "link", "set", self.device, "up")


@pytest.fixture
def link() -> Iterator[Link]:
    """Skips where namespaces may not be made."""
    number = os.getpid() % 250
    namespace, ours, theirs = f"soak{number}", f"soak{number}a", f"soak{number}b"
    made = Link(namespace, ours, f"10.77.{number}.1")
    try:
        made.do("ip", "netns", "add", namespace)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"may not make a network namespace: {exc}")
    try:
        made.do("ip", "link", "add", ours, "type", "veth", "peer", theirs, "netns", namespace)
        made.do("ip", "addr", "add", f"{made.address}/30", "dev", ours)
        made.do("ip", "link", "set", ours, "up")
        inside = ("ip", "-n", namespace)
        made.do(*inside, "addr", "add", f"10.77.{number}.2/30", "dev", theirs)
        made.do(*inside, "link", "set", theirs, "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)  # the cable goes with it
        subprocess.run(["ip", "link", "del", ours], check=False, capture_output=True)


@contextmanager
def daemon(state: Path, host: str) -> Iterator[tuple[psutil.Process, str]]:
    ready = state / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", f"{host}:0", "--insecure"]
    command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1"]
    process = subprocess.Popen([*command, "--watch", "0.5", "--batching", "8"])
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None, "the daemon ended early"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield psutil.Process(process.pid), json.loads(ready.read_text())["address"]
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


@contextmanager
def clients(link: Link, address: str, folder: Path, seed: int) -> Iterator[list[dict[str, Any]]]:
    """One process a kind; what each told at its end is in the list afterwards."""
    told: list[dict[str, Any]] = []
    prefix = ["ip", "netns", "exec", link.namespace, sys.executable, str(CLIENT)]
    running = [
        subprocess.Popen(
            [*prefix, kind, address, str(seed + at), str(folder)], stdout=subprocess.PIPE, text=True
        )
        for at, kind in enumerate(KINDS)
    ]
    try:
        yield told
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            out, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0
            told.append(json.loads(out))
    finally:
        for process in running:
            process.kill()
            process.wait()


def trouble(link: Link, board: psutil.Process, seconds: float, rng: random.Random) -> Counter[str]:
    """Until the time is over; leaves the link as it was."""
    made: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.5, 2.0))
        what = rng.choice(("kill", "kill", "cut", "narrow"))
        made[what] += 1
        if what == "kill":
            workers = board.children()
            with suppress(psutil.NoSuchProcess):  # one that was about to end anyway
                for worker in rng.sample(workers, min(1, len(workers))):
                    worker.kill()
        elif what == "cut":
            link.cut()
            time.sleep(rng.uniform(0.05, 1.5))
            link.mend()
        else:
            link.narrow()
            time.sleep(rng.uniform(0.5, 3.0))
            link.widen()
    return made


def held(board: psutil.Process, state: Path, client: Board) -> Held:
    time.sleep(QUIET_S)  # restarts end, connections close
    rss = []
    for _ in range(LOOKS):  # what lay between freed pieces goes back when a model ends
        client.unload("swapped")
        client.load("swapped")
        time.sleep(0.1)
        rss.append(board.memory_info().rss)
    blobs = sum(path.is_file() for path in (state / "blobs").rglob("*"))
    return Held(min(rss), board.num_fds(), len(board.children()), blobs)


def serves_again(client: Board, model: str) -> bool:
    """A worker that died many times in a row is started again after a pause of up to 30 s."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(ModelDown):
            return bool(client.predict(["heat on"], model=model))
    return False


@pytest.mark.slow
@pytest.mark.timeout(SOAK_S + 300)
def test_minutes_of_everything_at_once(link: Link, tmp_path: Path, tiny: ModuleType) -> None:
    bundles = {seed: tiny.make(tmp_path / f"{seed}.tar", seed=seed) for seed in range(3)}
    state, rng = tmp_path / "state", random.Random(7)
    looks, seen = [], set()
    with daemon(state, link.address) as (board, address):
        with Board(address) as client:
            client.deploy(bundles[0], model="home")
            client.deploy(bundles[1], model="swapped")
            client.deploy(bundles[2], model="swapped")
        for share in (WARM_SHARE, 1.0 - WARM_SHARE):
            with clients(link, address, tmp_path, seed=len(looks) * 100) as told:
                made = trouble(link, board, share * SOAK_S, rng)
                seen |= set(board.children(recursive=True))
            print(dict(made), *told, sep="\n")
            for one in told:
                assert not one["wrong"]
                assert one["done"] > 0, one
                more = OF_MEASURING if one["kind"] == "measure" else set()
                assert not set(one["errors"]) - EXPECTED - more, one
            with Board(address) as client:
                client.load("swapped")  # the clients may have been stopped between un- and loading
                for model in ("home", "swapped"):
                    assert serves_again(client, model)
                looks.append(held(board, state, client))
        print(*looks, sep="\n")
    assert not [process for process in seen if process.is_running()]
    warm, after = looks
    assert after.files <= warm.files
    assert (warm.workers, after.workers) == (2, 2)
    assert after.blobs <= warm.blobs
    assert after.rss_bytes <= (1 + GROWTH) * warm.rss_bytes
