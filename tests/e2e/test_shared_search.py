"""A search whose trials several hosts tell into one PostgreSQL, through the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from edgetran_host.cosearch.history import History

from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.slow

TRIALS = 12
PATIENCE_S = 120.0


@pytest.fixture
def oracle(root: Path, tmp_path: Path) -> Path:
    command = [sys.executable, root / "benchmarks" / "make_oracles.py", tmp_path / "oracles"]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "oracles" / "friendly.npz"


def begun(oracle: Path, url: str, host: Path) -> subprocess.Popen[str]:
    host.mkdir(exist_ok=True)
    words = ["--oracle", str(oracle), "--storage", url, "--study", "shared", "--run", "run"]
    words += ["--trials", str(TRIALS), "--method", "local", "--finalists", "1", "--json"]
    return subprocess.Popen(
        [Path(sys.executable).parent / "edgetran", "search", *words],
        cwd=host,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_two_hosts_share_one_study(
    postgres_server: PostgresServer, oracle: Path, tmp_path: Path
) -> None:
    url = postgres_server.fresh_database()
    hosts = [begun(oracle, url, tmp_path / name) for name in ("one", "other")]
    results = [ended(host) for host in hosts]
    entries = [one for one in History.open(url).entries() if one.asked.role == "search"]
    assert len(entries) >= TRIALS
    assert {one["study"] for one in results} == {"shared"}
    assert all(one["chosen"] for one in results)


def test_a_host_that_was_killed_goes_on(
    postgres_server: PostgresServer, oracle: Path, tmp_path: Path
) -> None:
    url = postgres_server.fresh_database()
    first = begun(oracle, url, tmp_path / "one")
    deadline = time.monotonic() + PATIENCE_S
    while not _told(url):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    paid = _told(url)
    assert 0 < paid <= TRIALS
    assert ended(begun(oracle, url, tmp_path / "one"))["evaluations"] == TRIALS
    assert _told(url) >= TRIALS


def _told(url: str) -> int:
    """Evaluations in the study; 0 before there is one."""
    from edgetran_protos.errors import UsageError

    try:
        history = History.open(url)
    except UsageError:
        return 0
    return sum(one.evaluation is not None for one in history.entries())
