"""Answers the supervisor's requests, one at a time, until it hangs up.

    load  runtime, path, threads    -> load_s, runtime, inputs, outputs
    run   tensors                   -> tensors; the frame's seconds are the run's
    time  runs, min_s, max_s,
          max_runs, tensors         -> tensors {"started_s", "ended_s": float64 (n,)}
    reference  the same             -> the same, of a fixed piece of work (reference.py)

A reply has "ok": true, or "ok": false with "kind" ("input", "memory", "fault", or "left": nobody
waited for the run, so it was not begun) and "message". Times are perf_counter's. What load and
time answer carries "peak_memory_bytes" too: to look it up takes as long as a small model.
"""

import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np

from edgetran_daemon.runtimes import runtime_class
from edgetran_daemon.runtimes.base import (
    InputRefused,
    Runtime,
    RuntimeFailure,
    Tensor,
    TensorSpec,
)
from edgetran_daemon.worker import wire
from edgetran_daemon.worker.interruption import Interruption
from edgetran_daemon.worker.reference import Reference
from edgetran_daemon.worker.wire import Header

Reply = Tuple[Header, Mapping[str, Tensor]]
Request = Tuple[wire.Layout, Dict[str, Tensor]]


class CallerLeft(Exception):
    """Nobody waits for the run."""


class Worker:
    """One model behind one socket."""

    def __init__(self, connection: socket.socket, interruption: Interruption) -> None:
        self._socket = connection
        self._interruption = interruption
        self._number = -1  # of the question that is being answered
        self._reader = connection.makefile("rb")
        self._runtime: Optional[Runtime] = None
        self._fits: Optional[wire.Layout] = None  # the last one that the graph takes
        self._run_s = 0.0
        self._reference: Optional[Reference] = None  # made when first asked for

    def serve(self) -> None:
        while True:
            request = self._receive()
            if request is None:
                return  # the supervisor closed its end, or died
            self._number += 1
            self._run_s = 0.0
            self._send(*self._answer(*request))

    def _answer(self, layout: wire.Layout, tensors: Mapping[str, Tensor]) -> Reply:
        try:
            reply, results = self._do(layout, tensors)
        except CallerLeft:
            return {"ok": False, "kind": "left", "message": "nobody waits for it"}, {}
        except InputRefused as exc:
            return {"ok": False, "kind": "input", "message": str(exc)}, {}
        except MemoryError as exc:
            return {"ok": False, "kind": "memory", "message": str(exc) or "out of memory"}, {}
        except Exception as exc:  # whatever the runtime does, the supervisor must hear of it
            return {"ok": False, "kind": "fault", "message": f"{type(exc).__name__}: {exc}"}, {}
        return {"ok": True, **reply}, results

    def _do(self, layout: wire.Layout, tensors: Mapping[str, Tensor]) -> Reply:
        header = layout.header
        if header["op"] == "load":
            loaded = self._load(header["runtime"], header["path"], header["threads"])
            return {**loaded, "peak_memory_bytes": peak_memory_bytes()}, {}
        if self._runtime is None:
            raise RuntimeFailure("nothing is loaded")
        if header["op"] == "run":
            return {}, self._run(self._runtime, layout, tensors)
        if header["op"] == "time":
            self._runtime.check(tensors)
            timed = _time(self._runtime.run_checked, tensors, header)
            return {"peak_memory_bytes": peak_memory_bytes()}, timed
        if header["op"] == "reference":
            self._reference = self._reference or Reference()
            return {}, _time(self._reference.run, tensors, header)
        raise RuntimeFailure(f"no operation {header['op']!r}")

    def _run(
        self, runtime: Runtime, layout: wire.Layout, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        if layout is not self._fits:
            runtime.check(tensors)  # of types and shapes alone, which the layout fixes
            self._fits = layout
        if not self._interruption.begin(self._number, runtime):
            raise CallerLeft
        try:
            started = time.perf_counter()
            results = runtime.run_checked(tensors)
            self._run_s = time.perf_counter() - started
        finally:
            self._interruption.end()
        return results

    def _load(self, name: str, path: str, threads: int) -> Header:
        kind = runtime_class(name)
        reason = kind.unavailable() or kind.no_device()
        if reason:
            raise RuntimeFailure(reason)
        started = time.perf_counter()
        runtime = self._runtime = kind(path, threads)
        return {
            "load_s": time.perf_counter() - started,
            "runtime": f"{name} {kind.version()}".strip(),
            "inputs": [_described(spec) for spec in runtime.inputs],
            "outputs": [_described(spec) for spec in runtime.outputs],
        }

    def _receive(self) -> Optional[Request]:
        prefix = self._reader.read(wire.PREFIX.size)
        if len(prefix) < wire.PREFIX.size:
            return None
        layout = wire.read_header(self._reader.read(wire.read_prefix(prefix)[0]))
        return layout, wire.unpack_tensors(layout, self._reader.read(layout.size_bytes))

    def _send(self, header: Header, tensors: Mapping[str, Tensor]) -> None:
        self._socket.sendall(b"".join(wire.pack(header, tensors, self._run_s)))


def _time(
    run: Callable[[Mapping[str, Tensor]], object],
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
) -> Dict[str, Tensor]:
    """Timed runs until both `runs` and `min_s` are reached, or one of the limits is."""
    clock = time.perf_counter
    started_s: List[float] = []
    ended_s: List[float] = []
    begun = clock()
    while True:
        started = clock()
        run(tensors)
        ended = clock()
        started_s.append(started)
        ended_s.append(ended)
        count, elapsed_s = len(ended_s), ended - begun
        if count >= header["runs"] and elapsed_s >= header["min_s"]:
            break
        if count >= header["max_runs"] or elapsed_s >= header["max_s"]:
            break
    return {"started_s": np.array(started_s, np.float64), "ended_s": np.array(ended_s, np.float64)}


def _described(spec: TensorSpec) -> Header:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def peak_memory_bytes() -> int:
    """Largest resident set so far. /proc first: getrusage counts the parent's before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
