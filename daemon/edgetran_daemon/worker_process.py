"""The supervisor's end of one worker process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from edgetran_protos.errors import InputError, RuntimeFault

from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.statistics import Phases
from edgetran_daemon.worker import wire
from edgetran_daemon.worker.wire import Header

LOAD_LIMIT_S = 300.0  # compiling runtimes are slow to load; longer counts as hung
RUN_LIMIT_S = 120.0
STOP_S = 2.0
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


class WorkerProcess:
    """One loaded model in its own process. A call that outlives its caller still ends."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self.peak_memory_bytes = 0

    @staticmethod
    async def start(runtime: str, graph: Path, threads: int) -> tuple[WorkerProcess, Loaded]:
        """Raises RuntimeFault when the graph cannot be loaded; no process is left then."""
        worker = await WorkerProcess._spawn()
        try:
            request = {"op": "load", "runtime": runtime, "path": str(graph), "threads": threads}
            reply, _ = await worker._ask(request, {}, LOAD_LIMIT_S)
        except BaseException:
            await worker.stop()
            raise
        return worker, _loaded(reply)

    @staticmethod
    async def _spawn() -> WorkerProcess:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edgetran_daemon.worker", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # numpy only carries tensors
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=BUFFER_BYTES)
        return WorkerProcess(process, reader, writer)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._reader.at_eof()

    async def wait(self) -> int:
        return await self._process.wait()

    async def run(self, inputs: Mapping[str, Tensor]) -> Ran:
        """Raises InputError, RuntimeFault."""
        reply, outputs = await self._ask({"op": "run"}, inputs, RUN_LIMIT_S)
        run_s = float(reply["run_s"])
        back_s = reply["replied_s"] - run_s
        return Ran(outputs, run_s, Phases(reply["queued_s"], reply["sent_s"], run_s, back_s))

    async def time(
        self, inputs: Mapping[str, Tensor], *, runs: int, min_s: float, max_s: float, max_runs: int
    ) -> Tensor:
        """Seconds of each timed run, in order; float64 (n,)."""
        limits = {"runs": runs, "min_s": min_s, "max_s": max_s, "max_runs": max_runs}
        _, found = await self._ask({"op": "time", **limits}, inputs, max_s + RUN_LIMIT_S)
        return found["samples_s"]

    async def finish(self) -> None:
        """Stops after the calls that came before."""
        async with self._turn:
            await self.stop()

    async def stop(self) -> None:
        """Hangs up; a worker that does not leave by itself is killed."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except asyncio.TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _ask(
        self, header: Mapping[str, Any], tensors: Mapping[str, Tensor], limit_s: float
    ) -> tuple[Header, dict[str, Tensor]]:
        asked = time.perf_counter()
        async with self._turn:
            queued_s = time.perf_counter() - asked
            exchange = asyncio.ensure_future(self._exchange(header, tensors, limit_s))
            try:
                reply, found = await asyncio.shield(exchange)
            except asyncio.CancelledError:
                # The frame must be read to its end, or the next caller gets our reply.
                await asyncio.gather(exchange, return_exceptions=True)
                raise
        if reply["ok"]:
            return {**reply, "queued_s": queued_s}, found
        raise (InputError if reply["kind"] == "input" else RuntimeFault)(reply["message"])

    async def _exchange(
        self, header: Mapping[str, Any], tensors: Mapping[str, Tensor], limit_s: float
    ) -> tuple[Header, dict[str, Tensor]]:
        began = time.perf_counter()
        try:
            self._writer.writelines(wire.pack(header, tensors))
            await self._writer.drain()
            sent = time.perf_counter()
            reply, found = await asyncio.wait_for(self._receive(), limit_s)
        except asyncio.TimeoutError:
            self.kill()
            raise RuntimeFault(
                f"the model's process did not answer within {limit_s:.0f} s"
            ) from None
        except (ConnectionError, asyncio.IncompleteReadError) as exc:
            raise RuntimeFault(
                "the model's process died", hint="it is started again; repeat the request"
            ) from exc
        return {**reply, "sent_s": sent - began, "replied_s": time.perf_counter() - sent}, found

    async def _receive(self) -> tuple[Header, dict[str, Tensor]]:
        prefix = await self._reader.readexactly(wire.LENGTH.size)
        header: Header = json.loads(await self._reader.readexactly(wire.header_length(prefix)))
        pieces = [await self._reader.readexactly(size) for size in wire.tensor_sizes(header)]
        self.peak_memory_bytes = int(header["peak_memory_bytes"])
        return header, wire.unpack_tensors(header, pieces)


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
