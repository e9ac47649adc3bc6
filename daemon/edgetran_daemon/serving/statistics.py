"""How many requests a model answered and where their time went, as Triton counts it.

A request is answered once; an execution is one run of the graph, which may serve
several requests. `inferences` counts rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Phases:
    """Seconds of one request."""

    queue_s: float  # until its turn came
    input_s: float  # its tensors on their way to the worker
    infer_s: float  # the runtime's own
    output_s: float  # the answer on its way back


@dataclass
class Duration:
    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += max(0, round(seconds * 1e9))


@dataclass
class Compute:
    """The phases that an execution has."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)

    def add(self, phases: Phases) -> None:
        self.input.add(phases.input_s)
        self.infer.add(phases.infer_s)
        self.output.add(phases.output_s)


@dataclass
class Statistics:
    """Of one served model, since it serves."""

    last_unix_ms: int = 0
    inferences: int = 0
    executions: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute: Compute = field(default_factory=Compute)
    by_batch: dict[int, Compute] = field(default_factory=dict)  # rows of an execution

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request from its arrival to its answer."""
        started = time.perf_counter()
        try:
            yield
        except BaseException:  # a client that hung up counts as failed, too
            self.fail.add(time.perf_counter() - started)
            raise
        self.success.add(time.perf_counter() - started)
        self.last_unix_ms = round(time.time() * 1e3)

    def answered(self, rows: int, phases: Phases) -> None:
        """A request's part of an execution."""
        self.inferences += rows
        self.queue.add(phases.queue_s)
        self.compute.add(phases)

    def executed(self, rows: int, phases: Phases) -> None:
        """One run of the graph with so many rows."""
        self.executions += 1
        self.by_batch.setdefault(rows, Compute()).add(phases)
