"""Tasks on a Ray cluster: one that runs already, or one of this machine alone.

Its machines need edgetran installed, and must see the search's folder under the same path.
What they measure is their own: boards stay with the machine that searches.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from concurrent.futures import CancelledError, Future
from typing import Any

from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.errors import UsageError

from edgetran_host.engine.engine import CRASH_HINT, TRIES, Engine, Task, WorkerDied
from edgetran_host.engine.worker import DONE, answer_of, rebuilt

OWN = "local"  # Ray's word for a cluster that ends with this process
LOOK_S = 0.5  # for events
KNOCK_S = 10.0


class RayEngine(Engine):
    def __init__(self, address: str = "", slots: int | None = None, threads: int = 1) -> None:
        """address: of a cluster, as HOST:PORT; empty: one is started here.

        Raises UsageError where there is no Ray, or nobody answers.
        """
        try:
            import ray
            from ray.util.queue import Queue
        except ImportError as exc:
            raise UsageError(
                f"the engine ray is not installed: {exc}", hint="pip install 'edgetran-host[ray]'"
            ) from exc
        self._ray = ray
        _begin(ray, address, None if slots is None else slots * threads)
        self.threads = threads
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.slots = min(slots or cores, max(1, cores // threads))
        self._remote = ray.remote(_run)
        self._lock = threading.RLock()
        self._closed = False
        self._listeners: dict[int, OnProgress] = {}
        self._open: dict[int, Any] = {}  # by number, what Ray knows it by
        self._count = 0
        self._events = Queue(actor_options={"num_cpus": 0})
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def submit(self, task: Task, on_progress: OnProgress = ignore) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                raise CancelledError
            number = self._count = self._count + 1
            self._listeners[number] = on_progress
            placed = self._remote.options(
                num_cpus=self.threads, max_retries=TRIES - 1, name=task.name
            )
            reference = placed.remote(task, number, self._events)
            self._open[number] = reference
        reference.future().add_done_callback(
            lambda ended: self._settle(number, task, future, ended)
        )
        return future

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running = list(self._open.values())
        for reference in running:
            self._ray.cancel(reference, force=True)
        self._ray.wait(running, num_returns=len(running), timeout=10.0) if running else None
        self._listening.join()
        self._events.shutdown(force=True)
        self._ray.shutdown()

    def _settle(self, number: int, task: Task, future: Future[Any], ended: Future[Any]) -> None:
        with self._lock:
            self._open.pop(number, None)
            closed = self._closed
        error = ended.exception()
        if closed or isinstance(error, self._ray.exceptions.TaskCancelledError):
            future.set_exception(CancelledError())
        elif error is None:
            kind, found = ended.result()
            if kind == DONE:
                future.set_result(found)
            else:
                future.set_exception(rebuilt(*found))
        else:
            why = str(error).strip().splitlines()[0]
            died = f"{task.name}: its process died {TRIES} times, {type(error).__name__}: {why}"
            future.set_exception(WorkerDied(died, hint=CRASH_HINT))

    def _listen(self) -> None:
        from ray.util.queue import Empty

        while not self._closed:
            with contextlib.suppress(Empty, self._ray.exceptions.RayActorError):
                number, event = self._events.get(timeout=LOOK_S)
                self._listeners[number](event)


def _run(task: Task, number: int, events: Any) -> tuple[str, Any]:
    """On a machine of the cluster."""

    def tell(event: Progress) -> None:
        events.put((number, event))

    return answer_of(task, tell)


def _begin(ray: Any, address: str, cores: int | None) -> None:
    own = {
        "address": OWN,
        "num_cpus": cores,
        "include_dashboard": False,
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    }
    try:
        if address:
            _knock(address)  # Ray itself would go on trying for minutes
        ray.init(
            **({"address": address} if address else own),
            log_to_driver=False,
            configure_logging=False,
        )
    except (OSError, RuntimeError, ValueError) as exc:
        raise UsageError(
            f"no Ray cluster at {address or 'this machine'}: {str(exc).splitlines()[0]}",
            hint="start one by `ray start --head`, or leave the address out",
        ) from exc


def _knock(address: str) -> None:
    """Raises OSError when nobody listens there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # "auto": Ray knows where
    socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
