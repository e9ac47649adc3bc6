"""Runs an exported graph on this machine, the way a board does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.errors import ExportError
from numpy.typing import NDArray

from edgetran_host.export.graph import INPUTS, OUTPUT
from edgetran_host.export.litert import litert_session
from edgetran_host.export.openvino import openvino_session
from edgetran_host.tasks import Encoded

ERRORS_ONLY = 3  # ONNX Runtime's severity
SLOW_FUSIONS = ["SkipLayerNormFusion"]  # left out on a board too

Run = Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]]


def run_graph(
    runtime: str,
    path: Path,
    data: Encoded,
    threads: int = 1,
    *,
    batch_rows: int = 1,
    stage: str = "scoring",
    on_progress: OnProgress = ignore,
) -> NDArray[np.float32]:
    """(rows, outputs) float32.

    One row at a time by default, as requests reach a board: 8-bit activations are
    scaled by the largest value of the whole batch, so batches change the outputs.
    """
    run = SESSIONS[runtime](path, threads)
    found = []
    for at in range(0, len(data), batch_rows):
        rows = data[at : at + batch_rows]
        found.append(run({name: getattr(rows, name) for name in INPUTS}))
        on_progress(Progress(stage, at + len(rows), len(data)))
    outputs: NDArray[np.float32] = np.concatenate(found)
    return outputs


def run_onnx(
    path: Path,
    data: Encoded,
    threads: int = 1,
    *,
    batch_rows: int = 1,
    stage: str = "scoring",
    on_progress: OnProgress = ignore,
) -> NDArray[np.float32]:
    """`run_graph` by ONNX Runtime."""
    return run_graph(
        "onnxruntime",
        path,
        data,
        threads,
        batch_rows=batch_rows,
        stage=stage,
        on_progress=on_progress,
    )


def _onnx_session(path: Path, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            path,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOW_FUSIONS,
        )
    except Exception as exc:  # its errors share no base class
        raise ExportError(f"ONNX Runtime does not load {path.name}: {exc}") from exc

    def run(tensors: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run([OUTPUT], tensors)[0]
        return logits

    return run


SESSIONS: Mapping[str, Callable[[Path, int], Run]] = {
    "onnxruntime": _onnx_session,
    "openvino": openvino_session,
    "litert": litert_session,
    "tensorrt": _onnx_session,  # neither runs on a host; both read ONNX
    "myriad": _onnx_session,
}
