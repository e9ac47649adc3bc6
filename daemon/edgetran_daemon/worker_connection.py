"""The supervisor's end of a worker's socket: one question at a time, its answer a future.

A protocol instead of streams: an answer that arrives in one piece wakes the caller
once, and no task is made on the way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Optional

from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.worker import wire
from edgetran_daemon.worker.wire import Header

Answer = tuple[Header, dict[str, Tensor]]


class WorkerConnection(asyncio.Protocol):
    """Callers take turns; the next question comes after the last one's answer."""

    def __init__(self) -> None:
        self._transport: Optional[asyncio.Transport] = None
        self._received = bytearray()
        self._header: Optional[Header] = None  # of the frame that is arriving
        self._needed = wire.LENGTH.size  # bytes until there is more to see
        self._answer: Optional[asyncio.Future[Answer]] = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.open = True

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.open = False
        self.give_up(ConnectionError("the worker hung up"))

    def ask(
        self, header: Mapping[str, object], tensors: Mapping[str, Tensor]
    ) -> asyncio.Future[Answer]:
        """The future fails with ConnectionError when the worker hangs up."""
        answer = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.open:
            answer.set_exception(ConnectionError("the worker hung up"))
            return answer
        self._answer = answer
        self._transport.write(b"".join(wire.pack(header, tensors)))
        return answer

    def give_up(self, reason: Exception) -> None:
        """Nobody waits for the answer any longer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(reason)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= self._needed:
            if self._header is not None:
                self._arrived(self._header)
            elif self._needed == wire.LENGTH.size:
                self._needed += wire.header_length(bytes(self._received[: wire.LENGTH.size]))
            else:
                self._header = json.loads(self._received[wire.LENGTH.size : self._needed])
                del self._received[: self._needed]
                self._needed = sum(wire.tensor_sizes(self._header))

    def _arrived(self, header: Header) -> None:
        body, rest = self._received, self._received[self._needed :]
        tensors = wire.unpack_tensors(header, wire.pieces_of(header, body))
        self._received, self._header, self._needed = rest, None, wire.LENGTH.size
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((header, tensors))
