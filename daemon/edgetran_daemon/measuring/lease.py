"""One client at a time may have the board to itself: a lease with a time to live.

Each lease has a fencing token, larger than every one before, restarts included. Whoever
comes with an old one is refused, so that a client that slept past the end of its lease
cannot disturb the next. Whoever does not renew loses the lease: a hung client costs the
board no more than one time to live. Who must wait may do so in a queue: the highest
priority comes first, then who asked first, and nobody slips in between two leases. Ten minutes of
waiting count as one priority more, so that nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Optional, Union

from edgetran_protos.errors import BoardBusy, BoardError, LeaseLost, UsageError

from edgetran_daemon.deployment.ledger import partial_of, write_atomically
from edgetran_daemon.store.room import room

DEFAULT_TTL_S = 30.0
SHORTEST_TTL_S = 1.0
LONGEST_TTL_S = 3600.0
HOLDER_CHARACTERS = 200
MOST_WAITING = 64
AGEING_S = 600.0  # of waiting, for one priority more
LOOK_S = 5.0  # how often those who wait are told how it stands, at least
AGAIN = "acquire a lease again, and renew it before it ends"


@dataclass(frozen=True)
class Lease:
    token: int
    holder: str  # what the client calls itself, for whoever has to wait
    ttl_s: float


@dataclass(frozen=True)
class Queued:
    """How one that waits stands."""

    ahead: int  # of the others that wait
    holder: str  # who has the board; empty: somebody measures without a lease
    left_s: float  # until its lease ends, unless it is renewed


@dataclass(eq=False)
class Waiter:
    holder: str
    priority: int  # larger ones come first
    since_s: float
    look: asyncio.Event  # set when something changed

    @property
    def place(self) -> float:
        """The smallest comes first. All age alike, so that the order of two never changes."""
        return self.since_s / AGEING_S - self.priority


class Leases:
    """The board's lease. `path` keeps the last token given out."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        partial_of(path).unlink(missing_ok=True)
        self._clock = clock
        self._last = _last_token(path)
        self._lease: Optional[Lease] = None
        self._until_s = 0.0
        self._closed = False
        self._changed = asyncio.Event()
        self._waiting: list[Waiter] = []  # in the order in which they come

    @property
    def held(self) -> Optional[Lease]:
        return self._lease if self._clock() < self._until_s else None

    def acquire(self, holder: str, ttl_s: float = 0.0) -> Lease:
        """Raises BoardBusy while another holds it."""
        self.admit(0)
        return self._give(holder, _checked(ttl_s))

    async def wait(
        self, holder: str, ttl_s: float, priority: int, free: Callable[[], bool]
    ) -> AsyncGenerator[Union[Queued, Lease], None]:
        """How it stands whenever that changes, at last the lease. Leaving early leaves the queue.

        free: whether nobody measures. Raises BoardBusy when the queue is full, BoardError when
        the daemon stops.
        """
        ttl_s = _checked(ttl_s)
        if len(self._waiting) >= MOST_WAITING:
            raise BoardBusy(
                f"{MOST_WAITING} clients wait for the board already", hint="try again later"
            )
        one = Waiter(holder[:HOLDER_CHARACTERS], priority, self._clock(), asyncio.Event())
        self._waiting.append(one)
        self._waiting.sort(key=lambda waiter: waiter.place)
        self.look_again()
        try:
            while self._waiting[0] is not one or self.held is not None or not free():
                if self._closed:
                    raise BoardError("the daemon stops", hint="wait again when it is back")
                one.look.clear()
                yield self._stands(one)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(one.look.wait(), min(LOOK_S, self.left_s or LOOK_S))
            lease = self._give(holder, ttl_s)
        finally:
            self._waiting.remove(one)
            self.look_again()
        yield lease

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed = True
        self.look_again()

    @property
    def left_s(self) -> float:
        """Until the lease ends, unless it is renewed; 0: nobody has one."""
        return max(0.0, self._until_s - self._clock())

    def queue(self) -> list[tuple[str, int, float]]:
        """holder, priority and seconds waited of those who wait, in their order."""
        now_s = self._clock()
        return [(one.holder, one.priority, now_s - one.since_s) for one in self._waiting]

    def look_again(self) -> None:
        """Something changed that those who wait need to know."""
        self._changed.set()
        for one in self._waiting:
            one.look.set()

    def _stands(self, one: Waiter) -> Queued:
        held = self.held
        return Queued(self._waiting.index(one), held.holder if held else "", self.left_s)

    def _give(self, holder: str, ttl_s: float) -> Lease:
        lease = Lease(self._last + 1, holder[:HOLDER_CHARACTERS], ttl_s)
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
        self.look_again()

    def admit(self, token: int) -> None:
        """Raises LeaseLost for a stale token, BoardBusy without one (0) while another has one."""
        if token:
            self._valid(token)
        elif self.held is not None:
            raise BoardBusy(
                f"the board is leased by {self.held.holder or 'another client'}",
                hint=f"try again when its lease ends: in {self.left_s:.0f} s unless it is renewed",
            )
        elif self._waiting:
            raise BoardBusy(
                f"{len(self._waiting)} others wait for the board", hint="wait in the queue, too"
            )

    def fence(self, token: int) -> None:
        """Raises LeaseLost for a stale token, BoardBusy without one (0) while another has one.

        For what changes the board: those who only wait keep it from nobody.
        """
        if token or self.held is not None:
            self.admit(token)

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
        self.look_again()
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
