"""A board for one client alone, while a `with` lasts; renewed in the background.

Should this program hang or die, the lease ends by itself after its time to live.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from types import TracebackType
from typing import Any, Optional

from edgetran_protos.generated.edgetran.v1 import measurement_pb2 as messages

from edgetran.channel import translated
from edgetran.errors import EdgeTranError, LeaseLost, UsageError

ASK_S = 30.0
RENEWALS = 3  # in a time to live, so that one may fail


def this_program() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}"


class Lease:
    """Made by `Board.lease`; the board's measurements inside the `with` are made under it."""

    def __init__(self, stub: Any, address: str, ttl_s: float, holder: str) -> None:
        self._stub = stub
        self._address = address
        self._ttl_s = ttl_s
        self._holder = holder
        self._over = threading.Event()
        self._renewing: Optional[threading.Thread] = None
        self.token = 0  # 0: not held

    def __enter__(self) -> Lease:
        """Raises BoardBusy while another has the board."""
        if self._renewing is not None:
            raise UsageError("a lease is used once", hint="call `Board.lease` again")
        request = messages.AcquireLeaseRequest(holder=self._holder, ttl_s=self._ttl_s)
        with translated(self._address):
            found = self._stub.AcquireLease(request, timeout=ASK_S)
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


class AsyncLease:
    """The same for `async with`, by `AsyncBoard.lease`."""

    def __init__(self, stub: Any, address: str, ttl_s: float, holder: str) -> None:
        self._stub = stub
        self._address = address
        self._ttl_s = ttl_s
        self._holder = holder
        self._renewing: Optional[asyncio.Task[None]] = None
        self.token = 0  # 0: not held

    async def __aenter__(self) -> AsyncLease:
        """Raises BoardBusy while another has the board."""
        if self._renewing is not None:
            raise UsageError("a lease is used once", hint="call `AsyncBoard.lease` again")
        request = messages.AcquireLeaseRequest(holder=self._holder, ttl_s=self._ttl_s)
        with translated(self._address):
            found = await self._stub.AcquireLease(request, timeout=ASK_S)
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
