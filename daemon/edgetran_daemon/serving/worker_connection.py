"""The supervisor's end of a worker's socket: questions in turn, each answer a future.

A protocol instead of streams: an answer that arrives in one piece wakes its caller once, and
no task is made on the way. While a model's runs are short, the next question lies in the
worker's socket already, so that the worker never waits for us. Otherwise it is sent when its
turn has come, and never when nobody waits for its answer any longer. Of a question whose caller
leaves after that, the worker is told by its number, so that it ends the run if its runtime can.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Optional

from edgetran_protos.errors import RunOverdue

from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.statistics import Phases
from edgetran_daemon.worker import wire
from edgetran_daemon.worker.wire import Header, Layout

SHORT_RUN_S = 0.02  # a longer one hardly notices the wait for its question
AHEAD = 2  # questions in the worker's socket when runs are short, the answered one among them


@dataclass(frozen=True)
class Answer:
    header: Header
    tensors: dict[str, Tensor]
    phases: Phases


@dataclass(eq=False)
class Question:
    header: Mapping[str, object]
    tensors: Mapping[str, Tensor]
    limit_s: float  # from its turn on
    answer: asyncio.Future[Answer]
    asked_s: float
    turn_s: float = 0.0  # when the answers before it had arrived
    sent_s: float = 0.0
    number: int = -1  # among those that were sent

    def phases(self, run_s: float, now_s: float) -> Phases:
        # It may have been sent before its turn, and answered before the system call returned.
        sent_s = max(self.turn_s, min(self.sent_s, now_s - run_s))
        return Phases(
            queue_s=self.turn_s - self.asked_s,
            input_s=sent_s - self.turn_s,
            infer_s=run_s,
            output_s=now_s - sent_s - run_s,
        )


def _ignore(number: int) -> None:
    """For a worker that cannot be told."""


class WorkerConnection(asyncio.Protocol):
    """Answers come in the order of the questions.

    `on_silence`: one is overdue. `on_leave`: nobody waits for the question of that number, which
    was sent and is not answered.
    """

    def __init__(self) -> None:
        self._transport: Optional[asyncio.Transport] = None
        self._received = bytearray()
        self._needed = wire.PREFIX.size  # bytes until there is more to see
        self._run_s = 0.0  # of the frame that is arriving
        self._layout: Optional[Layout] = None  # of that frame
        self._waiting: deque[Question] = deque()
        self._sent: deque[Question] = deque()
        self._ahead = 1
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._alarm: Optional[asyncio.TimerHandle] = None
        self._alarm_s = 0.0
        self._numbers = itertools.count()
        self.on_silence: Callable[[], None] = self.close
        self.on_leave: Callable[[int], None] = _ignore
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.open = True

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.open = False
        if self._alarm is not None:
            self._alarm.cancel()
        for question in (*self._sent, *self._waiting):
            if not question.answer.done():
                question.answer.set_exception(ConnectionError("the worker hung up"))
        self._sent.clear()
        self._waiting.clear()
        self._quiet.set()

    def ask(
        self, header: Mapping[str, object], tensors: Mapping[str, Tensor], limit_s: float
    ) -> asyncio.Future[Answer]:
        """Fails with ConnectionError when the worker hangs up, RunOverdue when it is overdue."""
        answer = asyncio.get_running_loop().create_future()
        if not self.open:
            answer.set_exception(ConnectionError("the worker hung up"))
            return answer
        question = Question(header, tensors, limit_s, answer, perf_counter())
        answer.add_done_callback(partial(self._looked_at, question))
        self._waiting.append(question)
        self._quiet.clear()
        self._send()
        return answer

    async def quiet(self) -> None:
        """Until no question is left."""
        await self._quiet.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= self._needed:
            if self._layout is not None:
                self._arrived(self._layout)
            elif self._needed == wire.PREFIX.size:
                length, self._run_s = wire.read_prefix(self._received[: self._needed])
                self._needed += length
            else:
                text = self._received[wire.PREFIX.size : self._needed]
                self._layout = wire.read_header(bytes(text), keep=self._run_s > 0)
                del self._received[: self._needed]
                self._needed = self._layout.size_bytes

    def _arrived(self, layout: Layout) -> None:
        now_s = perf_counter()
        body, rest = self._received, self._received[self._needed :]
        self._received, self._layout, self._needed = rest, None, wire.PREFIX.size
        question = self._sent.popleft()
        if not question.answer.done():
            tensors = wire.unpack_tensors(layout, body)
            phases = question.phases(self._run_s, now_s)
            question.answer.set_result(Answer(layout.header, tensors, phases))
        if self._sent:
            self._sent[0].turn_s = now_s
            self._watch()
        self._ahead = AHEAD if 0 < self._run_s < SHORT_RUN_S else 1
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        while self._waiting and len(self._sent) < self._ahead:
            question = self._waiting.popleft()
            if question.answer.done():
                continue  # its caller has left
            question.number = next(self._numbers)
            self._sent.append(question)
            question.turn_s = perf_counter()
            self._transport.write(b"".join(wire.pack(question.header, question.tensors)))
            question.tensors = {}
            question.sent_s = perf_counter()
            self._watch()
        if not self._sent:
            self._quiet.set()

    def _looked_at(self, question: Question, answer: asyncio.Future[Answer]) -> None:
        if answer.cancelled() and question in self._sent:
            self.on_leave(question.number)

    def _watch(self) -> None:
        """One alarm for all questions: hardly any of them lives to see it."""
        due_s = self._sent[0].turn_s + self._sent[0].limit_s
        if self._alarm is not None:
            if self._alarm_s <= due_s:
                return
            self._alarm.cancel()
        self._alarm_s = due_s
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(due_s - perf_counter(), self._look)

    def _look(self) -> None:
        self._alarm = None
        if not self._sent:
            return
        late = self._sent[0]
        if perf_counter() < late.turn_s + late.limit_s:
            self._watch()
            return
        if not late.answer.done():
            reason = f"the model's process did not answer within {late.limit_s:.0f} s"
            hint = "send fewer rows at once, or serve a smaller variant"
            late.answer.set_exception(RunOverdue(reason, hint=hint))
        self.on_silence()
