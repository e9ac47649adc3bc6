"""What a fleet's rollouts did, board by board, in one SQLite file beside fleet.toml.

Every step is on disk before the board hears of it (WAL, synchronous), so that whoever goes on
after a kill knows which boards may have been changed. What a board serves is asked of the
board itself; the ledger knows what served there before, and what is to be done.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.fleet.plan import Plan

SCHEMA = 1
BUSY_S = 30.0  # that one who only looks may keep the file

# A board's states. The first three are not final.
WAITING, DEPLOYING, CHECKING = "waiting", "deploying", "checking"
DEPLOYED, ROLLED_BACK, REFUSED = "deployed", "rolled-back", "refused"
UNREACHABLE, KEPT = "unreachable", "kept"  # kept: it breaks a promise and serves on
OPEN = (WAITING, DEPLOYING, CHECKING)

# A rollout's.
RUNNING, HALTING, HALTED, DONE, TAKEN_BACK = "running", "halting", "halted", "done", "taken-back"
UNFINISHED = (RUNNING, HALTING)

TABLES = """
CREATE TABLE IF NOT EXISTS rollouts (
  id INTEGER PRIMARY KEY, began REAL NOT NULL, plan TEXT NOT NULL, status TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '', ended REAL);
CREATE TABLE IF NOT EXISTS boards (
  rollout INTEGER NOT NULL REFERENCES rollouts, name TEXT NOT NULL, wave INTEGER NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', changed INTEGER NOT NULL DEFAULT 0,
  known INTEGER NOT NULL DEFAULT 0, before_digest TEXT NOT NULL DEFAULT '',
  variant TEXT NOT NULL DEFAULT '', place TEXT NOT NULL DEFAULT '',
  delivered TEXT NOT NULL DEFAULT '', at REAL NOT NULL,
  PRIMARY KEY (rollout, name));
"""


@dataclass(frozen=True)
class BoardRow:
    """One board in one rollout."""

    name: str
    wave: int
    state: str
    reason: str
    changed: bool  # a deployment was begun: the board may serve the new bundle
    known: bool  # it answered, so `before_digest` is true
    before_digest: str  # what served under the name before; empty: nothing did
    variant: str
    place: str  # "jetson-nano:gpu"
    delivered: Mapping[str, Any]  # see delivered.py; empty: nothing was measured
    at_unix_s: float  # of the last change

    @property
    def final(self) -> bool:
        return self.state not in OPEN


@dataclass(frozen=True)
class Rollout:
    id: int
    began_unix_s: float
    plan: Plan
    status: str
    reason: str
    ended_unix_s: float | None


class Ledger:
    """One process writes (see `lock.py`); any number may look."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        with self._told():
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
            if found > SCHEMA:
                raise UsageError(f"{path} was written by a newer edgetran", hint="upgrade this one")
            if found < SCHEMA:  # who only looks writes nothing
                self._db.executescript(TABLES)
                self._db.execute(f"PRAGMA user_version={SCHEMA}")

    def close(self) -> None:
        self._db.close()

    def begin(self, plan: Plan, waves: list[list[str]]) -> Rollout:
        with self._change() as db:
            added = db.execute(
                "INSERT INTO rollouts (began, plan, status) VALUES (?, ?, ?)",
                (self._clock(), json.dumps(plan.to_json()), RUNNING),
            )
            rollout = added.lastrowid
            for wave, names in enumerate(waves):
                for name in names:
                    self._insert(db, int(rollout or 0), name, wave)
        found = self.last()
        assert found is not None
        return found

    def add(self, rollout: int, name: str, wave: int) -> None:
        """A board that joined the fleet later."""
        with self._change() as db:
            self._insert(db, rollout, name, wave)

    def _insert(self, db: sqlite3.Connection, rollout: int, name: str, wave: int) -> None:
        db.execute(
            "INSERT INTO boards (rollout, name, wave, state, at) VALUES (?, ?, ?, ?, ?)",
            (rollout, name, wave, WAITING, self._clock()),
        )

    def last(self) -> Rollout | None:
        found = self.rollouts()
        return found[-1] if found else None

    def rollouts(self) -> list[Rollout]:
        """Oldest first."""
        with self._told():
            rows = self._db.execute("SELECT * FROM rollouts ORDER BY id").fetchall()
        return [
            Rollout(
                row["id"],
                row["began"],
                Plan.from_json(json.loads(row["plan"])),
                row["status"],
                row["reason"],
                row["ended"],
            )
            for row in rows
        ]

    def boards(self, rollout: int) -> list[BoardRow]:
        """By wave, in the order in which they were written."""
        with self._told():
            rows = self._db.execute(
                "SELECT * FROM boards WHERE rollout = ? ORDER BY wave, rowid", (rollout,)
            ).fetchall()
        return [_board(row) for row in rows]

    def board(self, rollout: int, name: str) -> BoardRow:
        with self._told():
            row = self._db.execute(
                "SELECT * FROM boards WHERE rollout = ? AND name = ?", (rollout, name)
            ).fetchone()
        return _board(row)

    def settle(self, rollout: int, status: str, reason: str = "") -> None:
        """A new status; what is final has an end."""
        ended = None if status in UNFINISHED else self._clock()
        with self._change() as db:
            db.execute(
                "UPDATE rollouts SET status = ?, reason = ?, ended = ? WHERE id = ?",
                (status, reason, ended, rollout),
            )

    def note(self, rollout: int, name: str, **values: str | int | Mapping[str, Any]) -> None:
        """Columns of one board; on disk before this returns."""
        plain = {
            key: json.dumps(value) if isinstance(value, Mapping) else value
            for key, value in values.items()
        }
        columns = ", ".join(f"{key} = ?" for key in plain)
        with self._change() as db:
            db.execute(
                f"UPDATE boards SET {columns}, at = ? WHERE rollout = ? AND name = ?",
                (*plain.values(), self._clock(), rollout, name),
            )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise UsageError(
                f"the ledger {self.path} cannot be used: {exc}",
                hint="check the disk and the file's permissions, then `edgetran fleet resume`",
            ) from exc


def _board(row: sqlite3.Row) -> BoardRow:
    return BoardRow(
        name=row["name"],
        wave=row["wave"],
        state=row["state"],
        reason=row["reason"],
        changed=bool(row["changed"]),
        known=bool(row["known"]),
        before_digest=row["before_digest"],
        variant=row["variant"],
        place=row["place"],
        delivered=json.loads(row["delivered"] or "{}"),
        at_unix_s=row["at"],
    )
