"""The supervisor's end of one worker process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Optional

from edgetran_protos.errors import EdgeTranError, InputError, ModelDown, RuntimeFault

from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.serving.priority import bring_forward, put_aside
from edgetran_daemon.serving.statistics import Phases
from edgetran_daemon.serving.worker_connection import Answer, WorkerConnection
from edgetran_daemon.serving.worker_pythons import OWN, WorkerPythons
from edgetran_daemon.worker.interruption import NUMBER

LOAD_LIMIT_S = 300.0  # compiling runtimes are slow to load; longer counts as hung
RUN_LIMIT_S = 120.0
MOST_REFERENCES = 100_000
STOP_S = 2.0
RUN: Mapping[str, Any] = {"op": "run"}
BUFFER_BYTES = 1 << 20  # of the socket: a typical batch in one go


@dataclass(frozen=True)
class Loaded:
    """What a worker says of the graph it loaded."""

    load_s: float
    runtime: str  # name and version
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Ran:
    outputs: dict[str, Tensor]
    run_s: float
    phases: Phases


@dataclass(frozen=True)
class Timed:
    """When each timed run began and ended, in order, by perf_counter; float64 (n,)."""

    started_s: Tensor
    ended_s: Tensor

    @property
    def samples_s(self) -> Tensor:
        return self.ended_s - self.started_s


class WorkerProcess:
    """One loaded model in its own process. Calls are answered in the order they came."""

    def __init__(
        self, process: asyncio.subprocess.Process, connection: WorkerConnection, leaving: FileIO
    ) -> None:
        """leaving: the pipe that it hears of questions by which nobody asks any longer."""
        self._process = process
        self._connection = connection
        self._leaving = leaving
        connection.on_silence = self.kill
        connection.on_leave = self._tell_left
        self.peak_memory_bytes = 0

    @staticmethod
    async def start(
        runtime: str,
        graph: Path,
        threads: int,
        memory_bytes: Optional[int] = None,
        cores: Sequence[int] = (),
        aside: bool = False,
        pythons: WorkerPythons = OWN,
    ) -> tuple[WorkerProcess, Loaded]:
        """`memory_bytes`: what its process may take; None: no limit. `cores`: its threads' only.
        `aside`: it computes what others leave over until `bring_forward`.

        Raises ModelDown or RuntimeFault when the graph cannot be loaded; no process is left then.
        """
        worker = await WorkerProcess._spawn(runtime, memory_bytes, pythons)
        with suppress(ProcessLookupError):  # one that has ended cannot answer below
            if cores:  # before it makes threads, which inherit them
                os.sched_setaffinity(worker.pid, cores)
            if aside:
                put_aside(worker.pid)
        try:
            request = {"op": "load", "runtime": runtime, "path": str(graph), "threads": threads}
            answer = await worker._ask(request, {}, LOAD_LIMIT_S)
        except ModelDown as exc:
            await worker.stop()
            allowed = ", or than --worker-memory-mb allows it" if memory_bytes else ""
            raise ModelDown(
                "the model's process died while it loaded",
                hint=f"it may need more memory than there is{allowed}; the log may say more",
            ) from exc
        except BaseException:
            await worker.stop()
            raise
        return worker, _loaded(answer.header)

    @staticmethod
    async def _spawn(
        runtime: str, memory_bytes: Optional[int], pythons: WorkerPythons
    ) -> WorkerProcess:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        heard, leaving = _pipe()
        with theirs, heard:
            ends = (theirs.fileno(), heard.fileno())
            arguments = (str(ends[0]), str(memory_bytes or 0), str(ends[1]))
            try:
                process = await asyncio.create_subprocess_exec(
                    *(*pythons.command(runtime), *arguments),
                    pass_fds=ends,
                    stdin=asyncio.subprocess.DEVNULL,
                    env=pythons.environment(runtime),
                )
            except OSError as exc:
                ours.close()
                leaving.close()
                if runtime not in pythons.paths:
                    raise
                raise RuntimeFault(
                    f"{pythons.paths[runtime]} cannot be started: {exc.strerror}",
                    hint="the daemon's worker_python names it; `edgetran-daemon --check` tries it",
                ) from exc
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(WorkerConnection, sock=ours)
        return WorkerProcess(process, connection, leaving)

    @property
    def pid(self) -> int:
        return self._process.pid

    def bring_forward(self) -> None:
        if self.alive:
            bring_forward(self.pid)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and self._connection.open

    async def wait(self) -> int:
        return await self._process.wait()

    async def run(self, inputs: Mapping[str, Tensor]) -> Ran:
        """Raises InputError, ModelDown, RuntimeFault."""
        answer = await self._ask(RUN, inputs, RUN_LIMIT_S)
        return Ran(answer.tensors, answer.phases.infer_s, answer.phases)

    async def time(
        self, inputs: Mapping[str, Tensor], *, runs: int, min_s: float, max_s: float, max_runs: int
    ) -> Timed:
        """Runs until both `runs` and `min_s` are reached, or one of the limits is."""
        limits = {"runs": runs, "min_s": min_s, "max_s": max_s, "max_runs": max_runs}
        return _timed(await self._ask({"op": "time", **limits}, inputs, max_s + RUN_LIMIT_S))

    async def reference(self, *, runs: int, min_s: float, max_s: float) -> Timed:
        """The same of a fixed piece of work, whatever is loaded."""
        limits = {"runs": runs, "min_s": min_s, "max_s": max_s, "max_runs": MOST_REFERENCES}
        return _timed(await self._ask({"op": "reference", **limits}, {}, max_s + RUN_LIMIT_S))

    async def finish(self) -> None:
        """Stops after the calls that came before."""
        await self._connection.quiet()
        await self.stop()

    async def stop(self) -> None:
        """Hangs up; a worker that does not leave by itself is killed."""
        self._connection.close()
        self._leaving.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except asyncio.TimeoutError:
            self.kill()
            await self._process.wait()

    def _tell_left(self, number: int) -> None:
        """A full pipe, or a worker that ended, need not hear of it."""
        if not self._leaving.closed:
            with suppress(BrokenPipeError):
                self._leaving.write(NUMBER.pack(number))

    def kill(self) -> None:
        if self._process.returncode is None:
            # Not its own `kill`: that may reap a process whose end asyncio is about to hear of.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _ask(
        self, header: Mapping[str, Any], tensors: Mapping[str, Tensor], limit_s: float
    ) -> Answer:
        try:
            answer = await self._connection.ask(header, tensors, limit_s)
        except ConnectionError as exc:
            raise ModelDown(
                "the model's process died", hint="it is started again; repeat the request"
            ) from exc
        reply = answer.header
        if not reply["ok"]:
            raise _refusal(str(reply["kind"]), str(reply["message"]))
        self.peak_memory_bytes = int(reply.get("peak_memory_bytes", self.peak_memory_bytes))
        return answer


def _pipe() -> tuple[FileIO, FileIO]:
    """The end to read from, and the one to write to without waiting."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    return FileIO(reading, "rb"), FileIO(writing, "wb")


def _timed(answer: Answer) -> Timed:
    return Timed(answer.tensors["started_s"], answer.tensors["ended_s"])


def _refusal(kind: str, message: str) -> EdgeTranError:
    if kind == "input":
        return InputError(message, hint="the model's metadata says which tensors it takes")
    if kind == "memory":
        return RuntimeFault(
            f"the model needs more memory than it may have: {message}",
            hint="send fewer rows at once, or allow it more with --worker-memory-mb",
        )
    return RuntimeFault(message, hint="try another variant; the daemon's log may say more")


def _loaded(reply: Mapping[str, Any]) -> Loaded:
    return Loaded(
        load_s=float(reply["load_s"]),
        runtime=str(reply["runtime"]),
        inputs=tuple(_spec(raw) for raw in reply["inputs"]),
        outputs=tuple(_spec(raw) for raw in reply["outputs"]),
    )


def _spec(raw: Mapping[str, Any]) -> TensorSpec:
    shape: tuple[Optional[int], ...] = tuple(raw["shape"])
    return TensorSpec(str(raw["name"]), str(raw["dtype"]), shape)
