"""8-bit weights and activations: weights ahead of time, activations per inference.

Products of every token with a constant matrix and the embedding tables are quantised;
attention scores, norms, the constant matrices of transforms, and the pooler and
classifier, which run once a text and are small, are not. A matrix has a scale for each
output, a table one for each row. Outlying channels are smoothed first (`smoothing.py`).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
from edgetran_protos.errors import ExportError
from onnx import helper, numpy_helper

from edgetran_host.export.smoothing import smooth
from edgetran_host.tasks import Encoded

TRANSFORM_MARKS = ("cosines", "sines", "over_length", "over_size")  # buffers of l heads
LARGEST_CODE = 127
TINY = 1e-12


def quantise_dynamic(source: Path, target: Path, calibration: Encoded | None = None) -> None:
    """Writes an int8 version of `source`. Raises ExportError.

    calibration: real rows, to find outlying channels on; None: nothing is smoothed.
    """
    model = onnx.load(source)
    products, tables = _nodes(model.graph, "MatMul", 1), _nodes(model.graph, "Gather", 0)
    if not products and not tables:
        raise ExportError("the graph has nothing to quantise")
    if calibration is not None:
        smooth(model, products, calibration)
    _quantise_tables(model.graph, tables)
    del model.graph.value_info[:]  # of the tables as they were; the quantiser infers its own
    try:
        _quantise_products(model, products, target)
    except (ValueError, RuntimeError) as exc:
        raise ExportError(f"the graph cannot be quantised: {exc}") from exc


def _quantise_products(model: onnx.ModelProto, products: list[str], target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if not products:  # an empty list means every node to it
        onnx.save(model, target)
        return
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises on the root logger
    try:
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.root.setLevel(level)


def _quantise_tables(graph: onnx.GraphProto, tables: list[str]) -> None:
    """Looks up a row's codes and its scale, and multiplies them."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in tables:
            nodes.append(node)
            continue
        name, ids = node.input
        codes, scale, out = f"{name}_quantized", f"{name}_scale", node.output[0]
        if name in held:  # a table may have several readers
            tensor = held.pop(name)
            table = numpy_helper.to_array(tensor)
            step = np.maximum(np.abs(table).max(axis=1, keepdims=True) / LARGEST_CODE, TINY)
            rounded = np.round(table / step).astype(np.int8)
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(rounded, codes))
            graph.initializer.append(numpy_helper.from_array(step.astype(np.float32), scale))
        nodes += [
            helper.make_node("Gather", [codes, ids], [f"{out}_codes"], name=f"{node.name}_codes"),
            helper.make_node("Gather", [scale, ids], [f"{out}_scale"], name=f"{node.name}_scale"),
            helper.make_node("Cast", [f"{out}_codes"], [f"{out}_cast"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}_cast", f"{out}_scale"], [out]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _nodes(graph: onnx.GraphProto, kind: str, weight: int) -> list[str]:
    """Products by a weight matrix, or look-ups in a float table; `weight`: which input it is.

    A product with one row a text is a Gemm, one with every token a MatMul.
    """
    ranks = {
        tensor.name: len(tensor.dims)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and not any(mark in tensor.name for mark in TRANSFORM_MARKS)
    }
    return [n.name for n in graph.node if n.op_type == kind and ranks.get(n.input[weight]) == 2]
