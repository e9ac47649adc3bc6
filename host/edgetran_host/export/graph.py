"""A text model as an ONNX graph: fixed sequence length, any batch, float32.

Inputs are int64 (batch, L) called input_ids, attention_mask and token_type_ids;
the output is float32 (batch, outputs) called logits. Opset 18 is the newest that
all target runtimes take; from 23 on the exporter emits attention nodes that ONNX
Runtime does not run with a mask.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxscript
import torch
from edgetran_protos.errors import ExportError

from edgetran_host.models.text_model import TextModel

OPSET = 18
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"
EXAMPLE_ROWS = 2  # an example of one row would freeze the batch at one
MAX_ROWS = 4096


def export_graph(model: TextModel, path: Path) -> None:
    """Writes `model` to `path`. Raises ExportError naming what cannot be expressed."""
    length = model.config.sequence_length
    # Three tensors, not one: the exporter takes equal objects for one input.
    example = tuple(torch.ones(EXAMPLE_ROWS, length, dtype=torch.int64) for _ in INPUTS)
    batch = torch.export.Dim("batch", min=1, max=MAX_ROWS)
    merged = model.eval().merged()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                merged,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_shapes=tuple({0: batch} for _ in INPUTS),
                external_data=False,
                verbose=False,
                custom_translation_table={torch.ops.aten.gelu.default: _gelu},
            )
    except Exception as exc:  # the exporter's errors share no base class
        first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise ExportError(f"the model cannot be expressed in ONNX: {first}") from exc
    assert program is not None
    graph = program.model_proto
    _check_signature(graph, length)
    _forget_origin(graph.graph)
    onnx.save(graph, path)


def _gelu(x: onnxscript.FLOAT, approximate: str = "none") -> onnxscript.FLOAT:
    """x/2 · (1 + erf(x/√2)), multiplied in the order that ONNX Runtime makes one kernel of."""
    op: Any = onnxscript.opset18  # its annotations fit no two calls in a row
    half = op.Mul(x, op.Constant(value_float=0.5))
    erf = op.Erf(op.Div(x, op.Constant(value_float=math.sqrt(2))))
    found: onnxscript.FLOAT = op.Mul(half, op.Add(erf, op.Constant(value_float=1.0)))
    return found


def _check_signature(graph: onnx.ModelProto, length: int) -> None:
    names = tuple(value.name for value in graph.graph.input)
    if names != INPUTS or [value.name for value in graph.graph.output] != [OUTPUT]:
        raise ExportError(f"the graph reads {names}, not {INPUTS}")
    for value in graph.graph.input:
        rows, width = value.type.tensor_type.shape.dim
        if rows.dim_value or width.dim_value != length:
            raise ExportError(f"{value.name} must be (any, {length}) in the graph")


def _forget_origin(graph: onnx.GraphProto) -> None:
    """Drops the exporter's notes of source lines and stack traces.

    No runtime reads them; they name paths of this machine and outweigh a small model.
    """
    for node in graph.node:
        del node.metadata_props[:]
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    for value in (*graph.value_info, *graph.input, *graph.output):
        del value.metadata_props[:]
    del graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its progress and missing optional packages; users need neither."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
