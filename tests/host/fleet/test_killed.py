"""`kill -9` of the host anywhere in a rollout; `resume` ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from edgetran import AsyncBoard, Progress
from edgetran.progress import ignore
from edgetran_host.fleet.fleet_file import read_fleet
from edgetran_host.fleet.ledger import Ledger
from edgetran_host.fleet.plan import Pace
from edgetran_host.fleet.running import ledger_path, resume
from edgetran_protos.bundle import Variant, Work, check_digest_name, digest_of
from edgetran_protos.errors import BoardBusy

pytestmark = pytest.mark.slow

PACE = Pace(at_once=4, patience_s=30.0, first_pause_s=0.1)
BOARDS = 8
LIMIT_S = 120.0


class Host:
    def __init__(self, path: Path, bundle: Path, *more: str) -> None:
        command = [sys.executable, "-m", "edgetran_host.cli.main", "deploy", "--fleet", str(path)]
        command += ["--bundle", str(bundle), "--at-once", "4", "--waves", "2,100%", *more]
        self._child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._path = ledger_path(path)

    def states(self) -> Counter[str]:
        if not self._path.exists():
            return Counter()
        with closing(Ledger(self._path)) as ledger:
            last = ledger.last()
            return Counter(row.state for row in ledger.boards(last.id)) if last else Counter()

    def killed_when(self, state: str, count: int) -> Counter[str]:
        """What the ledger says then."""
        deadline = time.monotonic() + LIMIT_S
        while self.states()[state] < count:
            assert self._child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self._child.send_signal(signal.SIGKILL)
        self._child.communicate()
        return self.states()


def serving(addresses: list[str]) -> list[str]:
    async def ask(address: str) -> str:
        async with AsyncBoard(address) as board:
            found = await board.deployments()
        return next((one.bundle_digest for one in found if one.model == "home"), "")

    async def all_of_them() -> list[str]:
        return list(await asyncio.gather(*map(ask, addresses)))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(
    ("state", "count"),
    [("waiting", BOARDS), ("deploying", 1), ("checking", 1), ("deployed", 1), ("deployed", 5)],
)
def test_killed_and_resumed(
    boards: Any, make_bundle: Any, write_fleet: Any, state: str, count: int
) -> None:
    names = [f"b{n}" for n in range(BOARDS)]
    running, bundle = boards(dict.fromkeys(names, "slow")), make_bundle()
    path = write_fleet({name: running.address(name) for name in names})
    states = Host(path, bundle.path).killed_when(state, count)
    addresses = [running.address(name) for name in names]
    served, before = serving(addresses), running.deploys()
    found = resume(read_fleet(path), PACE, ignore)
    assert found.status == "done", (states, found.reason)
    assert serving(addresses) == [bundle.digest] * BOARDS
    for name, digest in zip(names, served):
        if digest:  # it served by then, so nothing more was deployed to it
            assert running.deploys()[name] == before[name]
        else:
            assert running.deploys()[name] <= before[name] + 1


def test_a_transfer_goes_on_where_the_killed_host_stopped(
    boards: Any, make_bundle: Any, write_fleet: Any
) -> None:
    data = random.Random(1).randbytes(96 << 20)
    work = Work(24.0, 0.0, 512.0, 48.0, 192.0, 8)
    large = Variant("onnxruntime-large", "onnxruntime", "fp32", digest_of(data), len(data), work, 0)
    running, bundle = boards({"one": "well"}), make_bundle(others=[(large, data)])
    path = write_fleet({"one": running.address("one")})
    host = Host(path, bundle.path, "--waves", "100%")
    partial = Path(running.address("one").removeprefix("unix:")).with_suffix("") / "partial"
    file = partial / check_digest_name(large.digest)
    while not file.exists() or file.stat().st_size < (8 << 20):
        time.sleep(0.001)
    host.killed_when("waiting", 1)
    received = file.stat().st_size
    assert received < len(data)
    events: list[Progress] = []
    found = resume(read_fleet(path), PACE, events.append)
    assert found.status == "done", found.reason
    shares = [int(e.detail[5:-1]) for e in events if e.detail.startswith("sent ")]
    assert shares[0] >= int(100 * received / bundle.size_bytes) > 0
    assert serving([running.address("one")]) == [bundle.digest]


def test_killed_while_it_takes_back(boards: Any, make_bundle: Any, write_fleet: Any) -> None:
    names = [f"b{n}" for n in range(BOARDS)]
    running, bundle = boards(dict.fromkeys(names, "slow")), make_bundle()
    path = write_fleet({name: running.address(name) for name in names})
    wave = ("--waves", "100%", "--stop-if", "p99>1us", "--max-failures", "3")
    Host(path, bundle.path, *wave).killed_when("rolled-back", 2)
    found = resume(read_fleet(path), PACE, ignore)
    assert found.status == "halted"
    assert serving([running.address(name) for name in names]) == [""] * BOARDS


def test_a_second_host_is_told_who_works(boards: Any, make_bundle: Any, write_fleet: Any) -> None:
    names = [f"b{n}" for n in range(BOARDS)]
    running, bundle = boards(dict.fromkeys(names, "slow")), make_bundle()
    path = write_fleet({name: running.address(name) for name in names})
    host = Host(path, bundle.path)
    while not host.states():
        time.sleep(0.01)
    with pytest.raises(BoardBusy, match=r"process \d+ is changing this fleet"):
        resume(read_fleet(path), PACE, ignore)
    host.killed_when("deployed", 1)


def test_two_hosts_that_share_no_ledger(
    boards: Any, make_bundle: Any, write_fleet: Any, tmp_path: Path
) -> None:
    """The boards' leases keep them apart: a board is never changed by two at a time."""
    running, bundle = boards({"one": "slow"}), make_bundle()
    path = write_fleet({"one": running.address("one")})
    other = tmp_path / "other" / "fleet.toml"
    other.parent.mkdir()
    other.write_text(path.read_text())
    hosts = [Host(one, bundle.path, "--waves", "100%") for one in (path, other)]
    for host in hosts:
        host._child.communicate(timeout=LIMIT_S)
        assert host._child.returncode == 0
    assert running.deploys() == {"one": 1}


def test_two_hundred_boards(root: Path) -> None:
    """One in twenty ill, the host killed half-way: nothing is lost (benchmarks/bench_fleet.py)."""
    command = [sys.executable, str(root / "benchmarks" / "bench_fleet.py"), "--boards", "200"]
    command += ["--processes", "2", "--away", "5"]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert "0 faults" in ended.stdout
