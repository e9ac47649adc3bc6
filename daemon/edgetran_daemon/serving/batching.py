"""Requests that come together run together: one run of the graph, each its own rows of the answer.

While the model has enough to do, requests gather by themselves; a rule with a delay lets them
gather before an idle model, too. Only requests of the same tensors (names, types and shapes but for
the rows) share a run, in the order they came; nobody waits longer than the delay for another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Optional

import numpy as np
from edgetran_protos.errors import InputError, RunOverdue, RuntimeFault

from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.serving.serving_rules import BatchRule
from edgetran_daemon.serving.worker_process import Ran

Execute = Callable[[Mapping[str, Tensor], int], Awaitable[Ran]]
Key = tuple[tuple[str, str, tuple[int, ...]], ...]
RUNS_AT_ONCE = 2  # the worker never waits for us, and the rest still gather


@dataclass(frozen=True)
class Shared:
    """A request's part of a run, and the rows of all of it."""

    ran: Ran
    rows: int


@dataclass
class _Waiting:
    key: Key
    inputs: Mapping[str, Tensor]
    rows: int
    answer: asyncio.Future[Shared]
    since_s: float


def can_batch(specs: Sequence[TensorSpec]) -> bool:
    """Whether every tensor of a graph has the rows as its first, free dimension."""
    return all(spec.shape and spec.shape[0] is None for spec in specs)


class Batcher:
    """`execute`: runs the graph once; raises what it raises to whoever asked."""

    def __init__(self, execute: Execute, rule: BatchRule) -> None:
        self._execute = execute
        self._rule = rule
        self._waiting: deque[_Waiting] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._joins = True  # until the graph shows that its outputs' rows are not its inputs'

    async def run(self, inputs: Mapping[str, Tensor]) -> Shared:
        """A caller that leaves before its turn takes its request along."""
        key, rows = _key(inputs)
        if not (self._joins and 0 < rows < self._rule.rows):  # nothing joins it, or not safely
            return Shared(await self._execute(inputs, rows), rows)
        answer: asyncio.Future[Shared] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(key, inputs, rows, answer, perf_counter()))
        self._go()
        return await answer

    def _go(self) -> None:
        while len(self._running) < RUNS_AT_ONCE:
            batch = self._next()
            if not batch:
                return
            task = asyncio.create_task(self._serve(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)
            _end_when_all_left(task, batch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._go()

    def _next(self) -> list[_Waiting]:
        """The oldest request and those that may join it; empty: nobody's turn has come."""
        self._waiting = deque(one for one in self._waiting if not one.answer.done())
        if not self._waiting:
            return []
        first = self._waiting[0]
        batch, rows = [], 0
        for one in self._waiting:
            if one.key != first.key:
                continue
            if rows + one.rows > self._rule.rows:
                break
            batch.append(one)
            rows += one.rows
        else:  # more may still join
            due_s = first.since_s + self._rule.delay_s
            if rows < self._rule.rows and perf_counter() < due_s:
                self._wake_at(due_s)
                return []
        taken = set(map(id, batch))
        self._waiting = deque(one for one in self._waiting if id(one) not in taken)
        return batch

    def _wake_at(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, due_s - perf_counter()), self._go)

    async def _serve(self, batch: list[_Waiting]) -> None:
        """What spoils a joint run is found by running each apart; a dead worker is everybody's."""
        try:
            await self._together(batch)
        except (InputError, RuntimeFault) as exc:
            if len(batch) > 1 and not isinstance(exc, RunOverdue):
                for one in batch:
                    if not one.answer.done():
                        await self._serve([one])
            else:
                _fail(batch, exc)
        except Exception as exc:  # theirs to hear, whatever it is: nobody else awaits this task
            _fail(batch, exc)

    async def _together(self, batch: list[_Waiting]) -> None:
        begun_s = perf_counter()
        rows = sum(one.rows for one in batch)
        inputs = batch[0].inputs
        if len(batch) > 1:
            inputs = {name: np.concatenate([one.inputs[name] for one in batch]) for name in inputs}
        ran = await self._execute(inputs, rows)
        if len(batch) > 1 and any(len(tensor) != rows for tensor in ran.outputs.values()):
            self._joins = False
            raise RuntimeFault("its outputs have other rows than its inputs")
        at = 0
        for one in batch:
            outputs = ran.outputs
            if len(batch) > 1:
                outputs = {name: tensor[at : at + one.rows] for name, tensor in outputs.items()}
            at += one.rows
            if not one.answer.done():
                waited_s = begun_s - one.since_s + ran.phases.queue_s
                phases = replace(ran.phases, queue_s=waited_s)
                one.answer.set_result(Shared(Ran(outputs, ran.run_s, phases), rows))


def _fail(batch: Sequence[_Waiting], exc: Exception) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(exc)


def _end_when_all_left(task: asyncio.Task[None], batch: Sequence[_Waiting]) -> None:
    """A run that waits for its turn is not computed for nobody."""

    def look(_: asyncio.Future[Shared]) -> None:
        if all(one.answer.done() for one in batch):
            task.cancel()

    for one in batch:
        one.answer.add_done_callback(look)


def _key(inputs: Mapping[str, Tensor]) -> tuple[Key, int]:
    """What must be equal for requests to share a run; 0 rows where its tensors disagree on them."""
    counts = {len(tensor) if tensor.ndim else -1 for tensor in inputs.values()}
    rows = counts.pop() if len(counts) == 1 else 0
    key = tuple((name, tensor.dtype.str, tensor.shape[1:]) for name, tensor in inputs.items())
    return tuple(sorted(key)), max(0, rows)
