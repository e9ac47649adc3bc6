"""Counts what one inference of an OpenVINO graph costs.

Products and constants are counted on the graph itself, with the batch set to one row;
what moves between them, and how many operations run, is taken from the ONNX source.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import Work

from edgetran_host.export.openvino import read_openvino

PRODUCTS = {"MatMul", "Convolution", "GroupConvolution"}
SAME_VALUES = {"Reshape", "Transpose", "Unsqueeze", "Squeeze"}
SCALING = {"Convert", "Multiply", "Subtract"}  # from stored to real weights


def count_openvino_work(path: Path, source: Work) -> Work:
    """source: the work of the ONNX graph that `path` was made from."""
    model = read_openvino(path)
    model.reshape({port: [1, *port.partial_shape.get_max_shape()[1:]] for port in model.inputs})
    ops = model.get_ops()
    products = [node for node in ops if node.get_type_name() in PRODUCTS]
    in_int8 = sum(_operations(node) for node in products if _in_int8(node))
    in_all = sum(_operations(node) for node in products)
    constants = {n.get_friendly_name(): _bytes(n) for n in ops if n.get_type_name() == "Constant"}
    tables = {_origin(n.input_value(0), SCALING) for n in ops if n.get_type_name() == "Gather"}
    embedding = sum(constants.get(node.get_friendly_name(), 0) for node in tables)
    return dataclasses.replace(
        source,
        matmul_flops=float(in_all - in_int8),
        int8_ops=float(in_int8),
        weight_bytes=float(sum(constants.values()) - embedding),
        embedding_bytes=float(embedding),
    )


def _in_int8(product: Any) -> bool:
    """Both sides are quantised: by a FakeQuantize, or as stored 8-bit weights."""
    return all(_is_quantised(value) for value in product.input_values()[:2])


def _is_quantised(value: Any) -> bool:
    node = _origin(value, SAME_VALUES)
    if node.get_type_name() == "FakeQuantize":
        return True
    stored = _origin(value, SAME_VALUES | SCALING)
    return bool(stored.get_type_name() == "Constant" and stored.get_element_type().size == 1)


def _origin(value: Any, through: set[str]) -> Any:
    node = value.get_node()
    while node.get_type_name() in through:
        node = node.input_value(0).get_node()
    return node


def _operations(product: Any) -> int:
    """Two operations a multiply-add."""
    out = math.prod(product.output(0).shape)
    kind = product.get_type_name()
    if kind == "MatMul":
        transposed = product.get_attributes()["transpose_a"]
        depth = product.input_value(0).shape[-2 if transposed else -1]
    else:  # weights (out, in, k) or (groups, out, in, k)
        depth = math.prod(product.input_value(1).shape[1 if kind == "Convolution" else 2 :])
    return int(2 * out * depth)


def _bytes(constant: Any) -> int:
    return int(math.prod(constant.output(0).shape) * constant.get_element_type().size)
