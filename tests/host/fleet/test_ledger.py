"""The ledger: what was written is there for the next process, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from edgetran_host.fleet.ledger import DEPLOYING, HALTED, RUNNING, WAITING, Ledger
from edgetran_host.fleet.lock import only_host
from edgetran_host.fleet.plan import Plan
from edgetran_protos.errors import BoardBusy, UsageError

PLAN = Plan("b.tar", "sha256:0", "home", stop_if=("p99>20ms",))
KILLED = """
import os, sys
from pathlib import Path
from edgetran_host.fleet.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.note(1, "b", state="deploying", changed=1, delivered={"x": 1})
ledger._db.execute("BEGIN IMMEDIATE")
ledger._db.execute("UPDATE boards SET state = 'deployed'")
os.kill(os.getpid(), 9)
"""


def test_a_killed_writer_leaves_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / "fleet.ledger.db"
    ledger = Ledger(path)
    rollout = ledger.begin(PLAN, [["a"], ["b", "c"]])
    assert (rollout.status, rollout.plan) == (RUNNING, PLAN)
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
    rows = Ledger(path).boards(rollout.id)
    assert [(row.name, row.wave) for row in rows] == [("a", 0), ("b", 1), ("c", 1)]
    assert [row.state for row in rows] == [WAITING, DEPLOYING, WAITING]
    assert rows[1].changed
    assert rows[1].delivered == {"x": 1}
    ledger.settle(rollout.id, HALTED, "why")
    last = Ledger(path).last()
    assert last is not None
    assert (last.status, last.reason, last.ended_unix_s is None) == (HALTED, "why", False)


def test_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "fleet.ledger.db"
    path.write_text("this is no database, and long enough to be seen as none")
    with pytest.raises(UsageError, match="cannot be used"):
        Ledger(path)


def test_a_second_host_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.ledger.db"
    with only_host(path), pytest.raises(BoardBusy, match="is changing this fleet"), only_host(path):
        pass
    with only_host(path):
        pass
