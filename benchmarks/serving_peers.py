"""Other servers of the same graph: MLServer and PyTriton, each in an environment of its own.

That is made once, in the folder that EDGETRAN_BENCH_PEERS names (default: .venv-peers).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEBIANS = "/usr/bin/python3"
SESSION = """
import onnxruntime
def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
"""
MLSERVER = (
    SESSION
    + """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self):
        self.session = session(self.settings.parameters.uri)
        self.names = {i.name for i in self.session.get_inputs()}
        return True

    async def predict(self, payload):
        given = {i.name: NumpyCodec.decode_input(i) for i in payload.inputs if i.name in self.names}
        (logits,) = self.session.run(["logits"], given)
        outputs = [NumpyCodec.encode_output("logits", logits)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""
)


PYTRITON = (
    SESSION
    + """
import sys
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

path, http, grpc, metrics = sys.argv[1], *map(int, sys.argv[2:])
graph = session(path)

@batch
def infer(**tensors):
    return graph.run(["logits"], tensors)

ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
with Triton(config=TritonConfig(**ports)) as triton:
    triton.bind(
        model_name="bench",
        infer_func=infer,
        inputs=[Tensor(name=i.name, dtype=np.int64, shape=(-1,)) for i in graph.get_inputs()],
        outputs=[Tensor(name="logits", dtype=np.float32, shape=(-1,))],
        config=ModelConfig(max_batch_size=16),
    )
    triton.serve()
"""
)


def python_of(name: str, *packages: str, base: str = sys.executable) -> Path:
    """The interpreter of the environment `name`, made of `base` when it is not there."""
    place = Path(os.environ.get("EDGETRAN_BENCH_PEERS", ROOT / ".venv-peers")) / name
    python = place / "bin" / "python"
    if not python.exists():
        print(f"making {place} (once) ...", file=sys.stderr)
        subprocess.run([base, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


@contextmanager
def mlserver(graph: Path, folder: Path) -> Iterator[str]:
    """Its address."""
    python = python_of("mlserver", "mlserver==1.7.1", "onnxruntime==1.32.0")
    http, grpc_port, metrics = (free_port() for _ in range(3))
    (folder / "onnx_model.py").write_text(MLSERVER)
    ports = {"http_port": http, "grpc_port": grpc_port, "metrics_port": metrics}
    # No parallel workers: its fastest for one model, and 1.7.1's do not start with uvloop 0.23.
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "bench", "implementation": "onnx_model.Onnx"}
    model["parameters"] = {"uri": str(graph)}  # type: ignore[assignment]
    (folder / "model-settings.json").write_text(json.dumps(model))
    with running(python.with_name("mlserver"), "start", str(folder), cwd=folder, python=python):
        yield f"127.0.0.1:{grpc_port}"


@contextmanager
def pytriton(graph: Path, folder: Path) -> Iterator[str]:
    """Its address: Triton's own server, its Python model in a process beside it."""
    # It brings an interpreter of its own, which reads the library of Debian's Python 3.11.
    base = DEBIANS if Path(DEBIANS).exists() else sys.executable
    python = python_of("pytriton", "nvidia-pytriton==0.7.0", "onnxruntime==1.32.0", base=base)
    ports = [free_port() for _ in range(3)]
    (folder / "serve.py").write_text(PYTRITON)
    words = ("serve.py", str(graph), *map(str, ports))
    with running(python, *words, cwd=folder, python=python):
        yield f"127.0.0.1:{ports[1]}"


@contextmanager
def running(program: Path, *arguments: str, cwd: Path, python: Path) -> Iterator[None]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    path = f"{python.parent}:{plain['PATH']}"
    with (cwd / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments],
            cwd=cwd,
            env={**plain, "PATH": path, "PYTHONPATH": str(cwd)},
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
