"""Exports a model in every precision asked for, and holds each against the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetran_protos.bundle import Variant, digest_of
from edgetran_protos.errors import ExportError
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

    check: real rows. Raises ExportError when a graph's logits leave the model's.
    """
    wanted = predict(model, check)
    partial = folder / ".model-fp32.partial.onnx"
    try:
        export_graph(model, partial)
        found = []
        for precision in precisions:
            path = folder / f"model-{precision}.onnx"
            if precision == "int8":
                quantise_dynamic(partial, path)
            elif precision == "fp32":
                path.write_bytes(partial.read_bytes())
            else:
                raise ExportError(f"no precision {precision!r}", hint=f"one of {PRECISIONS}")
            found.append(_checked(path, precision, check, wanted))
    finally:
        partial.unlink(missing_ok=True)
    return found


def _checked(path: Path, precision: str, check: Encoded, wanted: NDArray[np.float32]) -> Exported:
    logits = run_onnx(path, check)
    error = float(np.abs(logits - wanted).max())
    allowed = TOLERANCE[precision] * max(1.0, float(np.abs(wanted).max()))
    if not error <= allowed:  # not: NaN fails too
        raise ExportError(
            f"the {precision} graph's logits leave the model's by {error:.3g} "
            f"on {len(check)} rows, at most {allowed:.3g} is accepted"
        )
    data = path.read_bytes()
    variant = Variant(
        name=f"{RUNTIME}-{precision}",
        runtime=RUNTIME,
        precision=precision,
        digest=digest_of(data),
        size_bytes=len(data),
        work=count_work(path),
        max_abs_error=error,
    )
    return Exported(variant, path, logits)
