"""What a search asks of the machines that train: take a task, say how far it is, answer.

A task names a function and plain arguments, so that it can travel to any process or machine
that has edgetran and sees the same folders.
"""

from __future__ import annotations

import abc
import importlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgetran.progress import OnProgress, ignore
from edgetran_protos.errors import DataError

TRIES = 2  # of a task whose worker dies
CRASH_HINT = "if memory ran out, allow fewer workers; then give the same command again"


class WorkerDied(DataError):
    """The process that ran a task ended, each time it was tried."""


@dataclass(frozen=True)
class Task:
    function: str  # "module:name"; takes the arguments, and on_progress
    arguments: Mapping[str, Any]
    name: str  # to be shown

    def run(self, on_progress: OnProgress) -> Any:
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function(**self.arguments, on_progress=on_progress)


class Engine(abc.ABC):
    """Callers may submit from several threads; leaving the context ends all that still runs."""

    slots: int  # tasks that run at a time
    threads: int  # that a task may compute with

    @abc.abstractmethod
    def submit(self, task: Task, on_progress: OnProgress = ignore) -> Future[Any]:
        """Its result raises what the task raised, WorkerDied, or CancelledError."""

    def run(self, task: Task, on_progress: OnProgress = ignore) -> Any:
        """Submits and waits."""
        return self.submit(task, on_progress).result()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Within, nothing of ours computes on this machine: for measuring on it."""
        yield

    @abc.abstractmethod
    def close(self) -> None:
        """Ends what runs and drops what waits; no process is left."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
