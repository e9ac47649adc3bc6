"""One graph served by edgetran-daemon, MLServer and PyTriton, and run in process.

Closed loop: each of 1, 8, 32 clients (threads of one process, the same raw gRPC client for
all servers) sends its next request when the last is answered. One thread computes, everywhere.
"batches": requests that wait share a run of the graph, as `--batching 16` allows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import edgetran
import grpc
import numpy as np
import psutil
from bench_serving import SHAPES, in_process, model
from edgetran_protos.open_inference import SERVICE, message
from serving_peers import mlserver, pytriton
from side_by_side import options

OURS = "edgetran-daemon"
BATCH_ROWS = 16
CLIENTS = (1, 8, 32)
WINDOW_S = 4.0
START_S = 60.0
Tensors = dict[str, np.ndarray]


def main() -> None:
    given = options(__doc__).parse_args()
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            bundle, graph, tensors = model(folder, *shape)
            (folder / "graph.onnx").write_bytes(graph)
            session = in_process(graph, 1)
            tensors = {i.name: tensors[i.name] for i in session.get_inputs()}
            report(name, "in process", timed(lambda: session.run(None, tensors), 1), given.json)  # noqa: B023
            with daemon(folder / "state", bundle) as address:
                served(name, OURS, address, tensors, given.json)
            with daemon(folder / "batching", bundle, "--batching", str(BATCH_ROWS)) as address:
                served(name, f"{OURS}, batches", address, tensors, given.json)
            for peer, serve in (("MLServer", mlserver), ("PyTriton", pytriton)):
                place = folder / peer
                place.mkdir()
                with serve(folder / "graph.onnx", place) as address:
                    served(name, peer, address, tensors, given.json)


@contextmanager
def daemon(state: Path, bundle: object, *more: str) -> Iterator[str]:
    """Its address, when it serves the bundle. Prints how long it took to start, and its memory."""
    ready = state / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0", "--threads", "1"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--state", state, "--ready-file", ready, *more])
    try:
        while not ready.exists():
            time.sleep(0.002)
        start_s = time.perf_counter() - began
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        print(f"  edgetran-daemon: serving after {start_s:.2f} s, supervisor {memory:.0f} MiB")
        address = json.loads(ready.read_text())["address"]
        with edgetran.connect(address) as board:
            board.deploy(bundle, model="bench")  # type: ignore[arg-type]
        yield address
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        print(f"  edgetran-daemon: supervisor {memory:.0f} MiB after the load")
    finally:
        process.terminate()
        process.wait(20)


def served(title: str, way: str, address: str, tensors: Tensors, as_json: bool) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )
        request = message("ModelInferRequest")(model_name="bench")
        for name, values in tensors.items():
            request.inputs.add(name=name, datatype="INT64", shape=values.shape)
            request.raw_input_contents.append(values.tobytes())
        until_it_answers(lambda: call(request, timeout=5))
        for clients in CLIENTS:
            report(title, way, timed(lambda: call(request, timeout=30), clients), as_json)


def until_it_answers(ask: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            ask()
            return
        except grpc.RpcError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def timed(ask: Callable[[], object], clients: int) -> tuple[int, np.ndarray, float]:
    """Clients, seconds of each request, and requests a second."""
    for _ in range(50):
        ask()
    found: list[list[float]] = [[] for _ in range(clients)]
    end = time.perf_counter() + WINDOW_S

    def run(place: int) -> None:
        while (began := time.perf_counter()) < end:
            ask()
            found[place].append(time.perf_counter() - began)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = np.array([one for some in found for one in some])
    return clients, seconds, len(seconds) / WINDOW_S


def report(title: str, way: str, found: tuple[int, np.ndarray, float], as_json: bool) -> None:
    clients, seconds, rate = found
    p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1e3
    if as_json:
        line = {"model": title, "way": way, "clients": clients, "p50_ms": p50, "p99_ms": p99}
        print(json.dumps({**line, "requests_per_s": rate}))
        return
    rest = f"p50 {p50:8.3f} ms  p99 {p99:8.3f} ms  {rate:7.0f} a second"
    print(f"  {title:<15} {way:<24} {clients:>2} clients  {rest}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
