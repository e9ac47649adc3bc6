"""A fleet of real daemons in processes of their own, whose times are measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from edgetran import Board
from edgetran_host.cli.deploy import deploy
from edgetran_host.cli.fleet import fleet
from edgetran_host.cli.verify import verify
from edgetran_host.measuring.record_directory import read_record
from edgetran_protos.errors import BoardError

pytestmark = pytest.mark.slow

START_S = 60.0


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    found, running = {}, []
    for name in ("one", "two"):
        folder = tmp_path_factory.mktemp(name)
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
        command += ["--state", str(folder), "--ready-file", str(ready), "--threads", "1"]
        running.append(subprocess.Popen([*command, "--watch", "0"]))
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert running[-1].poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        found[name] = json.loads(ready.read_text())["address"]
    yield found
    for daemon in running:
        daemon.terminate()
        daemon.wait(20)


def serves(address: str) -> str:
    with Board(address) as board:
        return next((one.bundle_digest for one in board.deployments()), "")


def test_measured_boards(addresses: dict[str, str], tiny: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    boards = [
        f'[[boards]]\nname = "{name}"\naddress = "{address}"' for name, address in addresses.items()
    ]
    path.write_text("\n".join(boards))
    first = tiny.make(tmp_path / "first.tar", 1, sequence=1, p99_s=30.0)
    second = tiny.make(tmp_path / "second.tar", 2, sequence=2, p99_s=30.0)
    run = CliRunner().invoke

    given = ["--fleet", str(path), "--json", "--bundle"]
    done = run(deploy, [*given, str(first.path), "--stop-if", "p99>1.5x"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["counts"] == {"deployed": 2}
    for board in found["boards"]:
        figures = board["figures"]
        assert board["place"] == "local:cpu"
        assert not board["modelled"]
        assert 0 < figures["latency_p50_s"]["delivered"] <= figures["latency_p99_s"]["delivered"]
        assert figures["latency_p99_s"]["promised"] == 30.0
        assert figures["agreement"]["delivered"] == 1.0
    assert set(map(serves, addresses.values())) == {first.digest}
    for name in addresses:
        record = path.with_suffix(".records") / "1" / name
        assert run(verify, [str(record)]).exit_code == 0
        assert read_record(record).pieces

    halted = run(deploy, [*given, str(second.path), "--stop-if", "p50>1ns"])
    assert isinstance(halted.exception, BoardError)
    told = {one["name"]: one for one in json.loads(halted.stdout)["boards"]}
    assert [told["one"]["state"], told["two"]["state"]] == ["rolled-back", "waiting"]
    assert "p50>1ns" in told["one"]["reason"]
    assert set(map(serves, addresses.values())) == {first.digest}

    older = run(deploy, [*given, str(first.path), "--no-measure"])  # it serves already
    assert older.exit_code == 0, older.output
    with Board(addresses["two"]) as board:
        board.remove("tiny")
    asked = run(fleet, ["status", str(path), "--ask", "--json"])
    told = {one["name"]: one for one in json.loads(asked.stdout)["boards"]}
    assert [told["one"]["state"], told["two"]["state"]] == ["deployed", "rolled-back"]
    assert "does not serve" in told["two"]["reason"]
