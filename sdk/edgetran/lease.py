"""A board for one client alone, while a `with` lasts; renewed in the background.

Should this program hang or die, the lease ends by itself after its time to live. While
another has the board, the lease is waited for in the board's queue, if so wished.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional

from edgetran_protos.generated.edgetran.v1 import measurement_pb2 as messages

from edgetran import convert
from edgetran.channel import stream, translated
from edgetran.errors import BoardError, EdgeTranError, LeaseLost, UsageError
from edgetran.progress import OnProgress, Progress

ASK_S = 30.0
STAGE = "lease"
RENEWALS = 3  # in a time to live, so that one may fail


@dataclass(frozen=True)
class Wish:
    """What a client asks for."""

    ttl_s: float
    holder: str  # what those who have to wait are told
    wait: bool  # in the board's queue; else BoardBusy
    priority: int  # in the queue; larger ones come first
    on_progress: OnProgress  # hears how it stands while it waits

    def request(self) -> messages.AcquireLeaseRequest:
        return convert.request(
            messages.AcquireLeaseRequest,
            holder=self.holder,
            ttl_s=self.ttl_s,
            priority=self.priority,
        )

    def hear(self, event: messages.LeaseEvent) -> Optional[messages.Lease]:
        """The lease, when the event brings it."""
        if event.HasField("lease"):
            return event.lease
        self.on_progress(Progress(STAGE, 0, 1, _standing(event.queued)))
        return None


def _standing(queued: messages.LeaseQueued) -> str:
    who = "somebody measures on the board"
    if queued.holder:
        who = f"board is leased by {queued.holder} for {queued.left_s:.0f} s unless renewed"
    return f"{who}; {queued.ahead} ahead in the queue" if queued.ahead else f"{who}; next in turn"


def this_program() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}"


class Lease:
    """Made by `Board.lease`; the board's measurements inside the `with` are made under it."""

    def __init__(self, stub: Any, address: str, wish: Wish) -> None:
        self._stub = stub
        self._address = address
        self._wish = wish
        self._over = threading.Event()
        self._renewing: Optional[threading.Thread] = None
        self.token = 0  # 0: not held

    def __enter__(self) -> Lease:
        """Raises BoardBusy while another has the board, or when its queue is full."""
        if self._renewing is not None:
            raise UsageError("a lease is used once", hint="call `Board.lease` again")
        found = self._awaited() if self._wish.wait else self._acquired()
        self.token = found.token
        pause_s = found.ttl_s / RENEWALS
        self._renewing = threading.Thread(target=self._renew, args=(pause_s,), daemon=True)
        self._renewing.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Raises LeaseLost when the board was not this client's all the time."""
        self._over.set()
        if self._renewing is not None:
            self._renewing.join()
        token, self.token = self.token, 0
        try:
            with translated(self._address):
                self._stub.ReleaseLease(messages.ReleaseLeaseRequest(token=token), timeout=ASK_S)
        except EdgeTranError:
            if error is None:
                raise

    def wait_until_lost(self) -> None:
        """Returns when the lease has ended although it was renewed in time."""
        if self._renewing is not None:
            self._renewing.join()

    def _acquired(self) -> messages.Lease:
        with translated(self._address):
            found: messages.Lease = self._stub.AcquireLease(self._wish.request(), timeout=ASK_S)
        return found

    def _awaited(self) -> messages.Lease:
        with translated(self._address):
            events = self._stub.AwaitLease(self._wish.request())
        found = waited = None
        with closing(stream(events, self._address)) as answers:
            for event in answers:  # to its end, by which the board knows that the lease arrived
                found = self._wish.hear(event)
                waited = waited or found is None
        if found is None:
            raise _no_lease()
        if waited:
            self._wish.on_progress(Progress(STAGE, 1, 1))
        return found

    def _renew(self, pause_s: float) -> None:
        while not self._over.wait(pause_s):
            try:
                with translated(self._address):
                    request = messages.RenewLeaseRequest(token=self.token)
                    self._stub.RenewLease(request, timeout=pause_s)
            except LeaseLost:
                return  # what is under way ends with this very error, and so does the `with`
            except EdgeTranError:
                continue  # the next try may reach the board before the lease ends


def _no_lease() -> BoardError:
    return BoardError("the queue ended without a lease", hint="ask again")


class AsyncLease:
    """The same for `async with`, by `AsyncBoard.lease`."""

    def __init__(self, stub: Any, address: str, wish: Wish) -> None:
        self._stub = stub
        self._address = address
        self._wish = wish
        self._renewing: Optional[asyncio.Task[None]] = None
        self.token = 0  # 0: not held

    async def __aenter__(self) -> AsyncLease:
        """Raises BoardBusy while another has the board, or when its queue is full."""
        if self._renewing is not None:
            raise UsageError("a lease is used once", hint="call `AsyncBoard.lease` again")
        found = await (self._awaited() if self._wish.wait else self._acquired())
        self.token = found.token
        self._renewing = asyncio.create_task(self._renew(found.ttl_s / RENEWALS))
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Raises LeaseLost when the board was not this client's all the time."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        token, self.token = self.token, 0
        try:
            with translated(self._address):
                request = messages.ReleaseLeaseRequest(token=token)
                await self._stub.ReleaseLease(request, timeout=ASK_S)
        except EdgeTranError:
            if error is None:
                raise

    async def _acquired(self) -> messages.Lease:
        with translated(self._address):
            found: messages.Lease = await self._stub.AcquireLease(
                self._wish.request(), timeout=ASK_S
            )
        return found

    async def _awaited(self) -> messages.Lease:
        with translated(self._address):
            events = self._stub.AwaitLease(self._wish.request())
        found = waited = None
        try:
            with translated(self._address):
                async for event in events:
                    found = self._wish.hear(event)
                    waited = waited or found is None
        finally:
            events.cancel()
        if found is None:
            raise _no_lease()
        if waited:
            self._wish.on_progress(Progress(STAGE, 1, 1))
        return found

    async def _renew(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                with translated(self._address):
                    request = messages.RenewLeaseRequest(token=self.token)
                    await self._stub.RenewLease(request, timeout=pause_s)
            except LeaseLost:
                return
            except EdgeTranError:
                continue
