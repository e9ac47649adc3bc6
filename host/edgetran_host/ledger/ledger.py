"""Paid evaluations by key, in a database that several hosts may share.

Who wants a result claims its key, works, and writes the result down. Whoever else wants it
meanwhile waits. A claim is a lease that its owner's heartbeat renews; one that ran out, or
whose process is known to be dead, is taken over. So one key is paid for once, and a process
that is killed loses at most what it was working on.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.bundle import canonical_json
from edgetran_protos.errors import UsageError
from sqlalchemy.exc import IntegrityError

from edgetran_host.ledger.owner import host_of, is_gone, own_name
from edgetran_host.ledger.table import EVALUATIONS, connect, now_s, told

LEASE_S = 60.0
BEATS = 4  # a lease
FIRST_LOOK_S = 0.1  # between looks at another's claim
LONGEST_LOOK_S = 2.0

Key = Mapping[str, Any]  # plain data: everything that decides the result
Value = dict[str, Any]


@dataclass(frozen=True)
class Paid:
    value: Value
    now: bool  # by this very call


class Ledger:
    """Callers may ask from several threads."""

    def __init__(self, url: str, lease_s: float = LEASE_S) -> None:
        self.url = url
        self._lease_s = lease_s
        self._engine = connect(url)

    def close(self) -> None:
        self._engine.dispose()

    def find(self, kind: str, key: Key) -> Value | None:
        """What was paid for; None when nothing was, or not yet."""
        with self._begin() as connection:
            found = connection.execute(
                sa.select(EVALUATIONS.c.value).where(*_named(kind, key))
            ).scalar()
        return None if found is None else _value(found)

    def all(self, kind: str) -> list[tuple[Value, Value]]:
        """Keys and values that were paid for, oldest first."""
        table = EVALUATIONS.c
        asked = (
            sa.select(table.key, table.value)
            .where(table.kind == kind, table.value.is_not(None))
            .order_by(table.paid, table.digest)
        )
        with self._begin() as connection:
            return [(_value(key), _value(value)) for key, value in connection.execute(asked)]

    def pay(
        self,
        kind: str,
        key: Key,
        work: Callable[[], Value],
        on_progress: OnProgress = ignore,
    ) -> Paid:
        """The value of the key, by `work` where nobody has it and nobody else is at it.

        What `work` raises is raised here, and the key is free again.
        """
        look_s, owner = FIRST_LOOK_S, ""
        while True:
            found = self.find(kind, key)
            if found is not None:
                return Paid(found, now=False)
            if self._claim(kind, key):
                return self._work(kind, key, work)
            other = self._owner(kind, key)
            if other and other != owner:
                on_progress(Progress("waiting", 0, 1, f"{host_of(other)} evaluates the same"))
                owner = other
            time.sleep(look_s)
            look_s = min(2 * look_s, LONGEST_LOOK_S)

    def put(self, kind: str, key: Key, value: Value) -> Value:
        """Without a claim; what somebody put before stays, and is returned."""
        return self.pay(kind, key, lambda: value).value

    def _work(self, kind: str, key: Key, work: Callable[[], Value]) -> Paid:
        stop = threading.Event()
        heart = threading.Thread(target=self._beat, args=(kind, key, stop), daemon=True)
        heart.start()
        try:
            value = work()
            text = json.dumps(value, allow_nan=False)
        except BaseException:
            self._stop(stop, heart)
            self._release(kind, key)
            raise
        self._stop(stop, heart)
        return Paid(_value(self._settle(kind, key, text)), now=True)

    @staticmethod
    def _stop(stop: threading.Event, heart: threading.Thread) -> None:
        stop.set()
        heart.join()

    def _beat(self, kind: str, key: Key, stop: threading.Event) -> None:
        """A beat that the database missed is made up for by the next."""
        while not stop.wait(self._lease_s / BEATS):
            try:
                self._renew(kind, key)
            except UsageError:
                continue

    def _claim(self, kind: str, key: Key) -> bool:
        with self._begin() as connection:
            row = connection.execute(
                sa.select(EVALUATIONS.c.owner, EVALUATIONS.c.expires).where(
                    *_named(kind, key), EVALUATIONS.c.value.is_(None)
                )
            ).first()
            now = now_s(connection)
        if row is None:
            return self._insert(kind, key, now)
        if row.expires > now and not is_gone(row.owner):
            return False
        taken = (
            sa.update(EVALUATIONS)
            .where(
                *_named(kind, key),
                EVALUATIONS.c.value.is_(None),
                EVALUATIONS.c.owner == row.owner,
                EVALUATIONS.c.expires == row.expires,  # nobody else took it meanwhile
            )
            .values(owner=_own(), expires=now + self._lease_s)
        )
        with self._begin() as connection:
            return connection.execute(taken).rowcount == 1

    def _insert(self, kind: str, key: Key, now: float) -> bool:
        """False: another was first."""
        row = {
            "kind": kind,
            "digest": digest(key),
            "key": canonical_json(dict(key)).decode(),
            "owner": _own(),
            "expires": now + self._lease_s,
        }
        with told(self.url):
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.insert(EVALUATIONS).values(row))
            except IntegrityError:
                return False
        return True

    def _renew(self, kind: str, key: Key) -> None:
        with self._begin() as connection:
            connection.execute(
                sa.update(EVALUATIONS)
                .where(*self._mine(kind, key))
                .values(expires=now_s(connection) + self._lease_s)
            )

    def _release(self, kind: str, key: Key) -> None:
        with self._begin() as connection:
            connection.execute(sa.delete(EVALUATIONS).where(*self._mine(kind, key)))

    def _settle(self, kind: str, key: Key, text: str) -> str:
        """Writes the value down; another's, should one have taken over and been faster."""
        self._insert(kind, key, 0.0)  # where one that took over gave up
        with self._begin() as connection:
            paid = now_s(connection)
            connection.execute(
                sa.update(EVALUATIONS)
                .where(*_named(kind, key), EVALUATIONS.c.value.is_(None))
                .values(value=text, owner=None, expires=None, paid=paid)
            )
            found = connection.execute(
                sa.select(EVALUATIONS.c.value).where(*_named(kind, key))
            ).scalar_one()
        return str(found)

    def _owner(self, kind: str, key: Key) -> str | None:
        with self._begin() as connection:
            return connection.execute(
                sa.select(EVALUATIONS.c.owner).where(*_named(kind, key))
            ).scalar()

    def _mine(self, kind: str, key: Key) -> tuple[sa.ColumnElement[bool], ...]:
        unpaid = (EVALUATIONS.c.value.is_(None), EVALUATIONS.c.owner == _own())
        return (*_named(kind, key), *unpaid)

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with told(self.url), self._engine.begin() as connection:
            yield connection


def digest(key: Key) -> str:
    return hashlib.sha256(canonical_json(dict(key))).hexdigest()


def _named(kind: str, key: Key) -> tuple[sa.ColumnElement[bool], ...]:
    return (EVALUATIONS.c.kind == kind, EVALUATIONS.c.digest == digest(key))


def _own() -> str:
    return own_name(os.getpid())


def _value(text: str) -> Value:
    found: Value = json.loads(text)
    return found
