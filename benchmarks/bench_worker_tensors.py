"""Tensors between supervisor and worker: through the socket as today, beside a memfd both map.

First the way alone: a process that takes a tensor of a size and answers with a byte, by the
frames of `worker/wire.py`; the tensor lies in the frame, or is copied into memory of the worker's
(memfd, its descriptor inherited). Then what that is of a request: real workers' own phases.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.worker_process import BUFFER_BYTES, WorkerProcess
from edgetran_daemon.worker import wire
from side_by_side import alternate, options, show

LENGTH = 128
ROW_BYTES = 3 * 8 * LENGTH  # ids, mask and types of a row, int64
SIZES = {  # name -> bytes
    "1 row of 128 tokens": ROW_BYTES,
    "32 rows": 32 * ROW_BYTES,
    "4 MB": 4 << 20,
    "16 MB": 16 << 20,
}
REGION_BYTES = 16 << 20
BLOCKS, RUNS = 12, 30
ROWS = {"tiny": (1, 32, 1024), "BERT-Mini size": (1, 32, 1024)}
LONG_RUN_ROWS, MANY, FEW = 1024, 200, 5


class Way:
    """One worker, asked by blocking calls: what differs is where the tensor lies."""

    def __init__(self, mapped: bool) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        memory = os.memfd_create("tensors")
        os.ftruncate(memory, REGION_BYTES)
        self._mapped = mapped
        self._region = np.frombuffer(mmap.mmap(memory, REGION_BYTES), np.uint8)
        with theirs:
            command = [sys.executable, __file__, "--worker", str(theirs.fileno()), str(memory)]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno(), memory])
        os.close(memory)
        self._socket, self._reader = ours, ours.makefile("rb")

    def ask(self, tensor: Tensor) -> None:
        if self._mapped:
            np.copyto(self._region[: tensor.nbytes], tensor)
            frame = wire.pack({"op": "run", "bytes": tensor.nbytes}, {})
        else:
            frame = wire.pack({"op": "run"}, {"x": tensor})
        self._socket.sendall(b"".join(frame))
        receive(self._reader)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()
        self._process.wait()


def worker(connection: int, memory: int) -> None:
    """The other end of a `Way`."""
    region = np.frombuffer(mmap.mmap(memory, REGION_BYTES), np.uint8)
    with socket.socket(fileno=connection) as end, end.makefile("rb") as reader:
        while (received := receive(reader)) is not None:
            header, tensors = received
            tensor = tensors["x"] if tensors else region[: header["bytes"]]
            answer = {"y": tensor[-1:]}
            end.sendall(b"".join(wire.pack({"ok": True}, answer, 1e-6)))


def receive(reader: Any) -> tuple[Mapping[str, Any], dict[str, Tensor]] | None:
    prefix = reader.read(wire.PREFIX.size)
    if len(prefix) < wire.PREFIX.size:
        return None
    layout = wire.read_header(reader.read(wire.read_prefix(prefix)[0]))
    return layout.header, wire.unpack_tensors(layout, reader.read(layout.size_bytes))


def ways_alone(as_json: bool) -> None:
    by_socket, by_memory = Way(mapped=False), Way(mapped=True)
    for name, size in SIZES.items():
        tensor = np.random.default_rng(0).integers(0, 255, size, np.uint8)
        ways = {
            "socket": lambda: by_socket.ask(tensor),  # noqa: B023
            "memfd": lambda: by_memory.ask(tensor),  # noqa: B023
        }
        found = alternate(ways, blocks=BLOCKS, runs=RUNS, warmup=20)
        show(f"way to the worker and back, {name}", found, "socket", as_json)
    by_socket.close()
    by_memory.close()


async def of_a_request(graph: Path, tensors: Mapping[str, Tensor], rows: int, threads: int) -> Any:
    """Medians, in milliseconds, of a request's phases in a real worker."""
    given = {name: np.resize(tensor, (rows, tensor.shape[1])) for name, tensor in tensors.items()}
    process, _ = await WorkerProcess.start("onnxruntime", graph, threads)
    try:
        count = FEW if rows >= LONG_RUN_ROWS else MANY
        found = [(await process.run(given)).phases for _ in range(count + 2)][2:]
    finally:
        await process.stop()
    ways = np.median([phases.input_s + phases.output_s for phases in found])
    return ways * 1e3, np.median([phases.infer_s for phases in found]) * 1e3


def shares(threads: int, as_json: bool) -> None:
    from bench_serving import SHAPES, model

    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            _, graph, tensors = model(Path(folder), *shape)
            path = Path(folder) / "graph"
            path.write_bytes(graph)
            for rows in ROWS[name]:
                way_ms, run_ms = asyncio.run(of_a_request(path, tensors, rows, threads))
                share = way_ms / (way_ms + run_ms)
                line = {"model": name, "rows": rows, "way_ms": way_ms, "run_ms": run_ms}
                if as_json:
                    print(json.dumps({**line, "share": share}))
                else:
                    print(
                        f"{name}, {rows} rows: way {way_ms:.3f} ms, run {run_ms:.3f} ms,"
                        f" the way is {share:.1%} of both"
                    )


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        worker(int(sys.argv[2]), int(sys.argv[3]))
        return
    given = options(__doc__).parse_args()
    ways_alone(given.json)
    shares(given.threads or len(os.sched_getaffinity(0)), given.json)


if __name__ == "__main__":
    main()
