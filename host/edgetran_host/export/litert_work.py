"""Counts what one inference of a .tflite graph costs.

Products and constants are counted on the graph itself, whose shapes are all fixed; what
moves between them, and how many operations run, is taken from the ONNX source.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import Work

LOOK_UPS = ("EMBEDDING_LOOKUP", "GATHER")
PRODUCTS = ("FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D")


def count_litert_work(path: Path, source: Work) -> Work:
    """source: the work of the ONNX graph of the same model."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    (graph,) = model.subgraphs
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    kinds = [names[code.builtinCode] for code in model.operatorCodes]
    operators = [(kinds[operator.opcodeIndex], operator) for operator in graph.operators]

    def size(place: int) -> int:
        data = model.buffers[graph.tensors[place].buffer].data
        return 0 if data is None else len(data)

    in_int8 = in_all = 0
    for kind, operator in operators:
        if kind in PRODUCTS:
            count = _operations(kind, operator, graph.tensors)
            in_all += count
            weight = graph.tensors[operator.inputs[1]]
            in_int8 += count * (weight.type == schema.TensorType.INT8)
    tables = {place for kind, op in operators if kind in LOOK_UPS for place in op.inputs}
    read = {place for _, operator in operators for place in operator.inputs if place >= 0}
    return dataclasses.replace(
        source,
        matmul_flops=float(in_all - in_int8),
        int8_ops=float(in_int8),
        weight_bytes=float(sum(map(size, read - tables))),
        embedding_bytes=float(sum(map(size, tables))),
    )


def _operations(kind: str, operator: Any, tensors: list[Any]) -> int:
    """Two a multiply-add."""
    left, right = (list(tensors[place].shape) for place in operator.inputs[:2])
    out = math.prod(tensors[operator.outputs[0]].shape)
    if kind == "FULLY_CONNECTED":  # weights (out, in)
        depth = right[-1]
    elif kind == "BATCH_MATMUL":
        depth = left[-2] if operator.builtinOptions.adjX else left[-1]
    elif kind == "CONV_2D":  # weights (out, height, width, in)
        depth = math.prod(right[1:])
    else:  # weights (1, height, width, channels)
        depth = math.prod(right[1:3])
    return int(2 * out * depth)
