"""Many boards in few processes, for benchmarks and tests of whole fleets.

Each board is the daemon as it is on a board (edgetran_daemon.server.Daemon): its own gRPC server
on its own Unix socket, its own store, ledger, leases and services. Light is only what a process
has once: a model runs in this process instead of in a worker of its own, and boards that serve
the same graph share its session; the heap is not trimmed after each model. Figures are those
of an emulated board, so no time of this machine decides anything.

Some boards are ill; `kind` says how. A board that dies hangs up in the middle of whatever call
is under way, and keeps what its disk holds.

    python benchmarks/light_boards.py FOLDER    reads {"do": ..., "name": ...} lines
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np

KINDS = (
    "well",
    "slow",  # every call takes a while
    "flaky",  # hangs up now and then, and is back at once
    "dying",  # hangs up in the middle of its deployment, for good; "dying:Measure": at that call
    "absent",  # is not there until it is started
    "wrong",  # computes something else: its probe refuses the bundle
    "strict",  # serves nothing older than what was committed
    "hot",  # is eight times as slow as its kind: it breaks what the bundle promises
)
DEATHS = ("AcquireLease", "PutBlob", "Deploy", "Measure", "Predict")  # at its first of these
TARGET = "nano:cpu"
SLOW_S = 0.15  # a call
FLAKY_CALLS = (3, 7, 12)  # hangs up when so many were begun
READY_S = 120.0


@dataclass(frozen=True)
class Asked:
    """What a fleet's process is told of a board."""

    name: str
    kind: str


class LightBoards:
    """Processes of boards, until `close`; used in a `with`."""

    def __init__(self, folder: Path, boards: Sequence[Asked], processes: int = 1) -> None:
        self._folder = folder
        self._processes = [_Process(folder) for _ in range(processes)]
        self._of: dict[str, _Process] = {}
        self.add(boards)

    def __enter__(self) -> LightBoards:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, boards: Sequence[Asked]) -> None:
        for one in boards:
            self._of[one.name] = self._processes[len(self._of) % len(self._processes)]
            self._of[one.name].say(do="add", name=one.name, kind=one.kind)
        for process in self._processes:
            process.ask(do="ready")

    def address(self, name: str) -> str:
        return f"unix:{self._folder / name}.sock"

    def start(self, name: str) -> None:
        """A board that was absent, or died."""
        self._of[name].ask(do="start", name=name)

    def stop(self, name: str) -> None:
        """As by a cut cable: calls under way end."""
        self._of[name].ask(do="stop", name=name)

    def deploys(self) -> dict[str, int]:
        """How many deployments were begun on each board."""
        found: dict[str, int] = {}
        for process in self._processes:
            found.update(process.ask(do="deploys"))
        return found

    def received_bytes(self) -> dict[str, int]:
        """Of blobs, on each board."""
        found: dict[str, int] = {}
        for process in self._processes:
            found.update(process.ask(do="received"))
        return found

    def memory_bytes(self) -> int:
        import psutil

        return sum(psutil.Process(one.pid).memory_info().rss for one in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.end()


class _Process:
    def __init__(self, folder: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._child.pid

    def say(self, **what: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(what) + "\n")
        self._child.stdin.flush()

    def ask(self, **what: str) -> Any:
        self.say(**what)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of boards ended with {self._child.wait()}")
        return json.loads(line)

    def end(self) -> None:
        with suppress(BrokenPipeError):
            assert self._child.stdin is not None
            self._child.stdin.close()
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@contextmanager
def light_boards(
    folder: Path, boards: Sequence[Asked], processes: int = 1
) -> Iterator[LightBoards]:
    with LightBoards(folder, boards, processes) as found:
        yield found


class _LightWorker:
    """Stands where a worker's process is: the same runtime and checks, in this process."""

    sessions: Mapping[tuple[str, str], Any] = {}
    peak_memory_bytes = 1 << 20

    def __init__(self, runtime: Any, shift: float) -> None:
        self._runtime = runtime
        self._shift = shift
        self._ended = asyncio.Event()
        self.pid = 0

    @staticmethod
    async def start(
        runtime: str, graph: Path, threads: int, *more: object, **rules: object
    ) -> tuple[_LightWorker, Any]:
        from edgetran_daemon.runtimes import runtime_class
        from edgetran_daemon.runtimes.base import RuntimeFailure
        from edgetran_daemon.serving.worker_process import Loaded
        from edgetran_protos.errors import RuntimeFault

        known, started = _LightWorker.sessions, time.perf_counter()
        key = (runtime, graph.name)  # the digest
        kind = runtime_class(runtime)
        if key not in known:
            try:
                _LightWorker.sessions = {**known, key: kind(str(graph), 1)}
            except RuntimeFailure as exc:
                raise RuntimeFault(str(exc)) from exc
        found = _LightWorker.sessions[key]
        shift = 1.0 if (_state_of(graph) / "wrong").exists() else 0.0
        told = f"{runtime} {kind.version()}"
        loaded = Loaded(
            time.perf_counter() - started, told, tuple(found.inputs), tuple(found.outputs)
        )
        return _LightWorker(found, shift), loaded

    @property
    def alive(self) -> bool:
        return not self._ended.is_set()

    def bring_forward(self) -> None:
        pass  # a thread of this process has no priority of its own

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    async def run(self, inputs: Mapping[str, np.ndarray]) -> Any:
        from edgetran_daemon.runtimes.base import InputRefused, RuntimeFailure
        from edgetran_daemon.serving.statistics import Phases
        from edgetran_daemon.serving.worker_process import Ran
        from edgetran_protos.errors import InputError, RuntimeFault

        started = time.perf_counter()
        try:
            found = self._runtime.run(inputs)
        except InputRefused as exc:
            raise InputError(str(exc)) from exc
        except RuntimeFailure as exc:
            raise RuntimeFault(str(exc)) from exc
        spent_s = time.perf_counter() - started
        outputs = {name: value + self._shift for name, value in found.items()}
        return Ran(outputs, spent_s, Phases(0.0, 0.0, spent_s, 0.0))

    async def time(self, inputs: Mapping[str, np.ndarray], *, runs: int, **limits: float) -> Any:
        from edgetran_daemon.serving.worker_process import Timed

        begun, ended = [], []
        for _ in range(runs):
            begun.append(time.perf_counter())
            await self.run(inputs)
            ended.append(time.perf_counter())
        return Timed(np.array(begun), np.array(ended))

    async def finish(self) -> None:
        await self.stop()

    async def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._ended.set()


def _state_of(graph: Path) -> Path:
    """STATE/blobs/sha256/<hex>"""
    return graph.parents[2]


class _Ills(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Counts the calls of a board, and makes it ill."""

    def __init__(self, board: _Board) -> None:
        self._board = board

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        board, method = self._board, details.method.rpartition("/")[2]
        board.calls += 1
        if method == "Deploy":
            board.deploys += 1
        if board.kind == "slow":
            await asyncio.sleep(SLOW_S * (0.5 + board.rng.random()))
        if board.kind == "flaky" and board.calls in FLAKY_CALLS:
            board.hang_up(comes_back=True)
        if board.kind == "dying" and method == board.dies_at:
            board.hang_up(comes_back=False)
        return await continuation(details)


class _Board:
    """One daemon of this process."""

    def __init__(self, folder: Path, name: str, kind: str) -> None:
        self.kind, _, at = kind.partition(":")
        self.rng = random.Random(name)
        self.calls = self.deploys = 0
        self.dies_at = at or self.rng.choice(DEATHS)
        self.state = folder / name
        self._socket = folder / f"{name}.sock"
        self._address = f"unix:{self._socket}"
        self._daemon: Any = None
        self._changing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        from edgetran_daemon.board.board import emulated
        from edgetran_daemon.deployment.rules import Rules, WatchRule
        from edgetran_daemon.server import Daemon
        from edgetran_daemon.settings.settings import Settings

        ills = _Ills(self)

        class LightDaemon(Daemon):
            def _outermost(self) -> list[Any]:
                return [*super()._outermost(), ills]

        while self._socket.exists():  # gRPC removes that of the server before
            await asyncio.sleep(0.01)
        self.state.mkdir(exist_ok=True)
        if self.kind == "wrong":
            (self.state / "wrong").touch()
        board = emulated(TARGET)
        if self.kind == "hot" and board.model is not None:
            board = replace(board, model=_slower(board.model))
        settings = Settings(
            host=self._address,
            port=0,
            state=self.state,
            emulate=TARGET,
            threads=1,
            rules=Rules(watch=WatchRule(seconds=0.0), strict_order=self.kind == "strict"),
            shared_memory=False,
        )
        self._daemon = LightDaemon(settings, board)
        await self._daemon.start()

    async def stop(self) -> None:
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            await daemon._server.stop(None)  # at once: nobody is told
            await daemon._deployments.close()
            del daemon
            gc.collect()  # only then gRPC lets go of the socket

    def hang_up(self, *, comes_back: bool) -> None:
        async def change() -> None:
            await self.stop()
            if comes_back:
                await self.start()

        task = asyncio.ensure_future(change())
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)

    def received_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.state / "blobs" / "sha256").glob("*"))


def _slower(unit: Any) -> Any:
    """The same board, eight times as slow: beyond what its model is sure of."""
    rates = ("fp32_flops", "int8_ops", "bandwidth_bytes_s")
    slower = {name: getattr(unit, name) / 8 for name in rates}
    return replace(unit, **slower, launch_s=8 * unit.launch_s, overhead_s=8 * unit.overhead_s)


async def _serve(folder: Path) -> None:
    from edgetran_daemon import heap
    from edgetran_daemon.measuring import trial
    from edgetran_daemon.serving import served_model

    served_model.WorkerProcess = _LightWorker  # type: ignore[attr-defined,misc]
    trial.WorkerProcess = _LightWorker  # type: ignore[attr-defined,misc]
    heap.give_back = lambda: None
    boards: dict[str, _Board] = {}
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()
    reading = loop.run_in_executor(None, _read, loop, lines)
    while line := await lines.get():
        asked = json.loads(line)
        name, answer = asked.get("name", ""), None
        if asked["do"] == "add":
            boards[name] = _Board(folder, name, asked["kind"])
            if asked["kind"] != "absent":
                await boards[name].start()
            continue
        if asked["do"] == "start":
            boards[name].kind = "well"
            await boards[name].start()
        if asked["do"] == "stop":
            await boards[name].stop()
        if asked["do"] == "deploys":
            answer = {key: board.deploys for key, board in boards.items()}
        if asked["do"] == "received":
            answer = {key: board.received_bytes() for key, board in boards.items()}
        print(json.dumps(answer), flush=True)
    await reading
    os._exit(0)  # as boards whose plug is pulled


def _read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    for line in sys.stdin:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, "")


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
