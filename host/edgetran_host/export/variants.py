"""Exports a model for every runtime and precision asked for, and holds each against the model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetran_protos.bundle import Variant, Work, digest_of
from edgetran_protos.errors import ExportError, UsageError
from numpy.typing import NDArray

from edgetran_host.export.compatibility import Cell, cell
from edgetran_host.export.graph import export_graph
from edgetran_host.export.litert import export_litert
from edgetran_host.export.litert_work import count_litert_work
from edgetran_host.export.older_onnx import write_older_onnx
from edgetran_host.export.openvino import export_openvino
from edgetran_host.export.openvino_work import count_openvino_work
from edgetran_host.export.quantisation import quantise_dynamic
from edgetran_host.export.running import run_graph
from edgetran_host.export.work import count_work
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.prediction import predict


@dataclass(frozen=True)
class Graph:
    """One graph on disk."""

    variant: Variant
    path: Path


@dataclass(frozen=True)
class Exported(Graph):
    """One graph as it was just made."""

    logits: NDArray[np.float32]  # its outputs on the check rows


def export_variants(
    model: TextModel,
    check: Encoded,
    precisions: Sequence[str],
    folder: Path,
    runtime: str = "onnxruntime",
    *,
    calibration: Encoded | None = None,
) -> list[Exported]:
    """One graph a precision, `folder`/model-<precision> and the runtime's suffix.

    check: real rows that the model was not trained on; calibration: training rows, for
    the precisions that scale activations ahead of time, and for ONNX Runtime's int8
    to smooth outlying channels on. Raises ExportError when a
    graph's logits leave the model's; no graph has its name before it passed.
    """
    for precision in precisions:
        if cell(runtime, precision).calibrated and not calibration:
            raise UsageError(
                f"{runtime} {precision} scales activations on rows of the training set",
                hint="give some as `calibration`; those to check with tell nothing then",
            )
    wanted = predict(model, check)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
        source = Path(scratch) / "source.onnx"
        export_graph(model, source)
        return [
            _exported(model, source, runtime, precision, check, wanted, calibration, folder)
            for precision in precisions
        ]


def _exported(
    model: TextModel,
    source: Path,
    runtime: str,
    precision: str,
    check: Encoded,
    wanted: NDArray[np.float32],
    calibration: Encoded | None,
    folder: Path,
) -> Exported:
    chosen = cell(runtime, precision)
    path = folder / f"model-{precision}{chosen.suffix}"
    made = source.with_name(path.name)
    work = _write(model, source, runtime, precision, calibration, made)
    logits = run_graph(runtime, made, check)
    error = _checked(logits, wanted, precision, chosen)
    data = made.read_bytes()
    variant = Variant(
        name=f"{runtime}-{precision}",
        runtime=runtime,
        precision=precision,
        digest=digest_of(data),
        size_bytes=len(data),
        work=work,
        max_abs_error=error,
    )
    made.replace(path)
    return Exported(variant, path, logits)


def _write(
    model: TextModel,
    source: Path,
    runtime: str,
    precision: str,
    calibration: Encoded | None,
    made: Path,
) -> Work:
    """Makes the graph `made`, most from `source` in ONNX; what one inference of it costs."""
    if runtime == "litert":
        export_litert(model, precision, made)
        return count_litert_work(made, count_work(source))
    if runtime == "openvino":
        export_openvino(source, precision, made, calibration)
        return count_openvino_work(made, count_work(source))
    if runtime in ("tensorrt", "myriad"):
        write_older_onnx(source, made, precision)
        return count_work(source)
    if precision == "int8":
        quantise_dynamic(source, made, calibration)
    else:
        shutil.copyfile(source, made)
    return count_work(made)


def _checked(
    logits: NDArray[np.float32], wanted: NDArray[np.float32], precision: str, chosen: Cell
) -> float:
    """The largest difference from the model. Raises ExportError when they are too large."""
    size, how = (_root_mean_square, "on average") if chosen.by_mean else (_largest, "at most")
    error, allowed = size(logits - wanted), chosen.tolerance * max(1.0, size(wanted))
    if not error <= allowed:  # not: NaN fails too
        raise ExportError(
            f"the {precision} graph's logits leave the model's by {error:.3g} {how} "
            f"on {len(wanted)} rows, {allowed:.3g} is accepted",
            hint="choose another precision",
        )
    return _largest(logits - wanted)


def _largest(x: NDArray[np.float32]) -> float:
    return float(np.abs(x).max())


def _root_mean_square(x: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(x.astype(np.float64)).mean()))
