"""Tasks in processes of this machine: as many at a time as the cores allow.

A worker process stays for further tasks, since loading PyTorch and a teacher takes seconds.
One that dies costs its task only, which is tried once more in a new one. While a board that
is this very machine is measured, workers stand still (SIGSTOP).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from edgetran.progress import OnProgress, ignore
from edgetran_protos.errors import UsageError

from edgetran_host.engine.engine import CRASH_HINT, TRIES, Engine, Task, WorkerDied
from edgetran_host.engine.worker import DONE, PROGRESS, rebuilt, serve

END_S = 3.0  # for a worker to end by itself


@dataclass(frozen=True)
class _Job:
    task: Task
    on_progress: OnProgress
    future: Future[Any]


class LocalEngine(Engine):
    def __init__(self, slots: int | None = None, threads: int = 1) -> None:
        """slots: tasks at a time; default: the cores divided by `threads`."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        cores = cores or psutil.cpu_count() or 1
        if threads < 1 or (slots is not None and slots < 1):
            raise UsageError("an engine needs one worker and one thread at least")
        self.slots = slots or max(1, cores // threads)
        self.threads = threads
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # cancelling a job tells us, too
        self._open = 0  # jobs that have no answer yet
        self._closed = False
        self._runners: list[_Runner] = []
        self._still = _Stillness()

    def submit(self, task: Task, on_progress: OnProgress = ignore) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise CancelledError
            self._open += 1
            self._jobs.put(_Job(task, on_progress, future))
            if len(self._runners) < min(self.slots, self._open):
                self._runners.append(_Runner(self._jobs, self._still))
        future.add_done_callback(self._settled)
        return future

    def _settled(self, _: Future[Any]) -> None:
        with self._lock:
            self._open -= 1

    @contextmanager
    def quiet(self) -> Iterator[None]:
        with self._still:
            yield

    def pids(self) -> list[int]:
        """Of the workers that live."""
        return [pid for runner in self._runners if (pid := runner.pid) is not None]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            runners = list(self._runners)
            with contextlib.suppress(queue.Empty):
                while True:
                    job = self._jobs.get_nowait()
                    if job is not None:
                        job.future.cancel()
            for _ in runners:
                self._jobs.put(None)
        for runner in runners:
            runner.end()
        for runner in runners:
            runner.join()


class _Stillness:
    """Within, all workers stand still and none begins; one caller at a time."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._workers: set[int] = set()
        self._on = False

    def __enter__(self) -> None:
        self._turn.acquire()
        with self._lock:
            self._on = True
            for pid in self._workers:
                _signal(pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._on = False
            for pid in self._workers:
                _signal(pid, signal.SIGCONT)
        self._turn.release()

    def add(self, pid: int) -> None:
        with self._lock:
            self._workers.add(pid)
            if self._on:
                _signal(pid, signal.SIGSTOP)

    def remove(self, pid: int) -> None:
        with self._lock:
            self._workers.discard(pid)


class _Runner(threading.Thread):
    """Owns one worker process, and begins another when it died."""

    def __init__(self, jobs: queue.SimpleQueue[_Job | None], still: _Stillness) -> None:
        super().__init__(name="engine", daemon=True)
        self._jobs = jobs
        self._still = still
        self._ending = False
        self._busy = False
        self._worker: _Worker | None = None
        self.start()

    @property
    def pid(self) -> int | None:
        worker = self._worker
        return worker.pid if worker else None

    def run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                break
            self._busy = True
            if job.future.set_running_or_notify_cancel():
                self._settle(job)
            self._busy = False
        self._drop()

    def end(self) -> None:
        """An idle worker ends by itself, once nobody can ask it anything."""
        self._ending = True
        worker = self._worker
        if worker is not None and self._busy:
            worker.end()

    def _settle(self, job: _Job) -> None:
        why = ""
        for _ in range(TRIES):
            if self._ending:
                break
            try:
                worker = self._alive()
                kind, found = worker.ask(job)
            except (EOFError, OSError):
                why = self._drop()
                continue
            except BaseException as error:  # of whoever listens to the progress
                self._drop()
                job.future.set_exception(error)
                return
            if kind == DONE:
                job.future.set_result(found)
            else:
                job.future.set_exception(rebuilt(*found))
            return
        if self._ending:
            job.future.set_exception(CancelledError())
            return
        job.future.set_exception(
            WorkerDied(f"{job.task.name}: its process died {TRIES} times, {why}", hint=CRASH_HINT)
        )

    def _alive(self) -> _Worker:
        if self._worker is None:
            self._worker = _Worker()
            self._still.add(self._worker.pid)
            if self._ending:
                self._worker.end()
        return self._worker

    def _drop(self) -> str:
        """How the worker ended."""
        worker, self._worker = self._worker, None
        if worker is None:
            return ""
        self._still.remove(worker.pid)
        return worker.ended()


class _Worker:
    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, os.getpid()), daemon=True)
        self._process.start()
        there.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, job: _Job) -> tuple[str, Any]:
        """Raises EOFError or OSError when the process dies."""
        self._here.send(job.task)
        while True:
            kind, found = self._here.recv()
            if kind != PROGRESS:
                return kind, found
            job.on_progress(found)

    def end(self) -> None:
        self._process.terminate()
        _signal(self.pid, signal.SIGCONT)  # one that stands still hears nothing else

    def ended(self) -> str:
        """How; it is made to end where it has not."""
        self._here.close()
        self._process.join(END_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
