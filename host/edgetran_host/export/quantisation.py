"""8-bit weights and activations: weights ahead of time, activations per inference.

Products of every token with a constant matrix and the embedding tables are quantised;
attention scores, norms, the constant matrices of transforms, and the pooler and
classifier, which run once a text and are small, are not.
"""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from edgetran_protos.errors import ExportError

TRANSFORM_MARKS = ("cosines", "sines", "over_length", "over_size")  # buffers of l heads


def quantise_dynamic(source: Path, target: Path) -> None:
    """Writes an int8 version of `source`. Raises ExportError."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = _nodes(onnx.load(source).graph)
    if not nodes:
        raise ExportError("the graph has nothing to quantise")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises on the root logger
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_quantize=nodes,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    except (ValueError, RuntimeError) as exc:
        raise ExportError(f"the graph cannot be quantised: {exc}") from exc
    finally:
        logging.root.setLevel(level)


def _nodes(graph: onnx.GraphProto) -> list[str]:
    """Products by a weight matrix, and look-ups in a float table.

    A product with one row a text is a Gemm, one with every token a MatMul.
    """
    shapes = {
        tensor.name: len(tensor.dims)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and not any(mark in tensor.name for mark in TRANSFORM_MARKS)
    }
    chosen = []
    for node in graph.node:
        weight = {"MatMul": 1, "Gather": 0}.get(node.op_type)
        if weight is not None and shapes.get(node.input[weight]) == 2:
            chosen.append(node.name)
    return chosen
