"""One client at a time may have the board to itself: a lease with a time to live.

Each lease has a fencing token, larger than every one before, restarts included. Whoever
comes with an old one is refused, so that a client that slept past the end of its lease
cannot disturb the next. Whoever does not renew loses the lease: a hung client costs the
board no more than one time to live.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Optional

from edgetran_protos.errors import BoardBusy, BoardError, LeaseLost, UsageError

from edgetran_daemon.deployment.ledger import partial_of, write_atomically
from edgetran_daemon.store.room import room

DEFAULT_TTL_S = 30.0
SHORTEST_TTL_S = 1.0
LONGEST_TTL_S = 3600.0
HOLDER_CHARACTERS = 200
AGAIN = "acquire a lease again, and renew it before it ends"


@dataclass(frozen=True)
class Lease:
    token: int
    holder: str  # what the client calls itself, for whoever has to wait
    ttl_s: float


class Leases:
    """The board's lease. `path` keeps the last token given out."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        partial_of(path).unlink(missing_ok=True)
        self._clock = clock
        self._last = _last_token(path)
        self._lease: Optional[Lease] = None
        self._until_s = 0.0
        self._changed = asyncio.Event()

    @property
    def held(self) -> Optional[Lease]:
        return self._lease if self._clock() < self._until_s else None

    def acquire(self, holder: str, ttl_s: float = 0.0) -> Lease:
        """Raises BoardBusy while another holds it."""
        self.admit(0)
        lease = Lease(self._last + 1, holder[:HOLDER_CHARACTERS], _checked(ttl_s))
        with room(str(self._path)):
            write_atomically(self._path, str(lease.token).encode(), "lease")
        self._last = lease.token
        return self._start(lease)

    def renew(self, token: int) -> Lease:
        """Another time to live from now on. Raises LeaseLost."""
        return self._start(self._valid(token))

    def release(self, token: int) -> None:
        """Raises LeaseLost, when there is nothing to release any more."""
        self._valid(token)
        self._lease = None
        self._until_s = 0.0
        self._changed.set()

    def admit(self, token: int) -> None:
        """Raises LeaseLost for a stale token, BoardBusy without one (0) while another has one."""
        if token:
            self._valid(token)
        elif self.held is not None:
            left_s = self._until_s - self._clock()
            raise BoardBusy(
                f"the board is leased by {self.held.holder or 'another client'}",
                hint=f"try again when its lease ends: in {left_s:.0f} s unless it is renewed",
            )

    async def ended(self, token: int) -> NoReturn:
        """Raises LeaseLost as soon as the token is no longer valid."""
        while True:
            self._valid(token)
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._until_s - self._clock())
            except asyncio.TimeoutError:
                continue  # unless it was renewed, it is no longer valid

    def _valid(self, token: int) -> Lease:
        held = self.held
        if held is None or held.token != token:
            raise LeaseLost(f"lease {token} has ended", hint=AGAIN)
        return held

    def _start(self, lease: Lease) -> Lease:
        self._lease, self._until_s = lease, self._clock() + lease.ttl_s
        self._changed.set()
        return lease


def _checked(ttl_s: float) -> float:
    ttl_s = ttl_s or DEFAULT_TTL_S
    if not SHORTEST_TTL_S <= ttl_s <= LONGEST_TTL_S:
        raise UsageError(
            f"a lease of {ttl_s} s is not possible",
            hint=f"between {SHORTEST_TTL_S:.0f} and {LONGEST_TTL_S:.0f} s",
        )
    return ttl_s


def _last_token(path: Path) -> int:
    """Raises BoardError: to begin at 1 again would make old tokens valid."""
    try:
        return int(path.read_bytes())
    except FileNotFoundError:
        return 0
    except ValueError as exc:
        raise BoardError(
            f"{path} holds no lease token", hint="write a number above all that were given out"
        ) from exc
