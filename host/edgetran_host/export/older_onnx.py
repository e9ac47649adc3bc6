"""A graph in the ONNX of 2021, for boards whose makers went no further: operator set 13.

TensorRT 8.2 (Jetson Nano) and OpenVINO 2021.4 (Neural Compute Stick 2) have no
LayerNormalization, which came with set 17; it is written out, and splits are slices. All else
that we export means the same in both sets; onnx's checker holds each node against the older.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgetran_protos.errors import ExportError
from onnx import helper, numpy_helper

OPSET = 13
Array = np.ndarray[Any, np.dtype[Any]]
IR_VERSION = 7  # of that set's release
PRECISION = "edgetran.precision"  # a note that TensorRT's adapter reads


def write_older_onnx(source: Path, target: Path, precision: str) -> None:
    """`source` in operator set 13; precision: what a board may compute in. Raises ExportError."""
    model = onnx.load(source)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        if node.op_type == "LayerNormalization":
            nodes += _written_out(node, added)
        elif node.op_type == "Split":
            nodes += _sliced(node, constants, added)
        else:
            nodes.append(_older(node, constants))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(added.values())
    used = {name for node in nodes for name in node.input}
    for at, tensor in reversed(list(enumerate(graph.initializer))):
        if tensor.name not in used:
            del graph.initializer[at]
    del graph.value_info[:]  # shapes of tensors that are gone
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {PRECISION: precision})
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as exc:  # its errors share no base class
        raise ExportError(f"the graph cannot be written in ONNX's set {OPSET}: {exc}") from exc
    onnx.save(model, target)


def _older(node: onnx.NodeProto, constants: dict[str, Array]) -> onnx.NodeProto:
    """Set 18 made the axes of means an input; 14 let a shape hold a zero, which ours never does."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and len(node.input) > 1:
        axes = constants.get(node.input[1])
        if axes is None:
            raise ExportError(f"{node.op_type} {node.name} has axes that are no constant")
        del made.input[1:]
        made.attribute.append(helper.make_attribute("axes", axes.tolist()))
    if node.op_type == "Reshape":
        del made.attribute[:]  # allowzero
    return made


def _sliced(
    node: onnx.NodeProto, constants: dict[str, Array], added: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """OpenVINO 2021.4 cannot fix the shapes of a split."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    sizes = constants.get(node.input[1]) if len(node.input) > 1 else None
    if sizes is None:
        raise ExportError(f"Split {node.name} has sizes that are no constant")
    ends = np.cumsum(sizes)
    axis = _number(int(values.get("axis", 0)), added)
    return [
        helper.make_node(
            "Slice",
            [node.input[0], _number(end - size, added), _number(end, added), axis],
            [result],
        )
        for result, size, end in zip(node.output, sizes, ends, strict=True)
    ]


def _number(value: int, added: dict[str, onnx.TensorProto]) -> str:
    name = f"number_{value}"
    added.setdefault(name, numpy_helper.from_array(np.array([value], np.int64), name))
    return name


def _written_out(node: onnx.NodeProto, added: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, over the last axis."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if values.get("axis", -1) != -1 or len(node.output) != 1:
        raise ExportError(f"LayerNormalization {node.name} is not over the last axis alone")
    epsilon = float(values.get("epsilon", 1e-5))
    name = f"epsilon_{epsilon:g}"
    added.setdefault(name, numpy_helper.from_array(np.array(epsilon, np.float32), name))
    result = node.output[0]
    x, (scale, *shift) = node.input[0], node.input[1:]

    def part(kind: str) -> str:
        return f"{result}/{kind}"

    last = part("scaled") if shift else result
    made = [
        helper.make_node("ReduceMean", [x], [part("mean")], axes=[-1]),
        helper.make_node("Sub", [x, part("mean")], [part("centred")]),
        helper.make_node("Mul", [part("centred")] * 2, [part("square")]),
        helper.make_node("ReduceMean", [part("square")], [part("variance")], axes=[-1]),
        helper.make_node("Add", [part("variance"), name], [part("positive")]),
        helper.make_node("Sqrt", [part("positive")], [part("deviation")]),
        helper.make_node("Div", [part("centred"), part("deviation")], [part("normal")]),
        helper.make_node("Mul", [part("normal"), scale], [last]),
    ]
    return made + [helper.make_node("Add", [last, bias], [result]) for bias in shift]
