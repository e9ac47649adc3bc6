"""Exports a model in every precision asked for, and holds each against the model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetran_protos.bundle import Variant, digest_of
from edgetran_protos.errors import ExportError, UsageError
from numpy.typing import NDArray

from edgetran_host.export.graph import export_graph
from edgetran_host.export.quantisation import quantise_dynamic
from edgetran_host.export.running import run_onnx
from edgetran_host.export.work import count_work
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.prediction import predict

RUNTIME = "onnxruntime"
PRECISIONS = ("fp32", "int8")
TOLERANCE = {  # largest difference from the model, as a share of its largest logit
    "fp32": 1e-4,
    "int8": 0.5,  # a loose net for broken graphs; the metric on dev is the judgement
}


@dataclass(frozen=True)
class Exported:
    """One graph on disk."""

    variant: Variant
    path: Path
    logits: NDArray[np.float32]  # its outputs on the check rows


def export_variants(
    model: TextModel, check: Encoded, precisions: Sequence[str], folder: Path
) -> list[Exported]:
    """One graph a precision, `folder`/model-<precision>.onnx.

    check: real rows. Raises ExportError when a graph's logits leave the model's; no
    graph has its name before it passed.
    """
    unknown = [precision for precision in precisions if precision not in PRECISIONS]
    if unknown:
        raise UsageError(f"no precision {unknown[0]!r}", hint=f"one of {', '.join(PRECISIONS)}")
    wanted = predict(model, check)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
        source = Path(scratch) / "source.onnx"
        export_graph(model, source)
        return [_exported(source, precision, check, wanted, folder) for precision in precisions]


def _exported(
    source: Path, precision: str, check: Encoded, wanted: NDArray[np.float32], folder: Path
) -> Exported:
    path = folder / f"model-{precision}.onnx"
    made = source.with_name(path.name)
    if precision == "int8":
        quantise_dynamic(source, made)
    else:
        shutil.copyfile(source, made)
    logits = run_onnx(made, check)
    error = _checked(logits, wanted, precision)
    data = made.read_bytes()
    variant = Variant(
        name=f"{RUNTIME}-{precision}",
        runtime=RUNTIME,
        precision=precision,
        digest=digest_of(data),
        size_bytes=len(data),
        work=count_work(made),
        max_abs_error=error,
    )
    made.replace(path)
    return Exported(variant, path, logits)


def _checked(logits: NDArray[np.float32], wanted: NDArray[np.float32], precision: str) -> float:
    """The largest difference from the model. Raises ExportError when it is too large."""
    error = float(np.abs(logits - wanted).max())
    allowed = TOLERANCE[precision] * max(1.0, float(np.abs(wanted).max()))
    if not error <= allowed:  # not: NaN fails too
        raise ExportError(
            f"the {precision} graph's logits leave the model's by {error:.3g} "
            f"on {len(wanted)} rows, at most {allowed:.3g} is accepted",
            hint="choose another precision",
        )
    return error
