"""Counts what one inference of an exported graph costs, operation by operation.

Shapes come from ONNX's own inference with the batch set to one row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from edgetran_protos.bundle import Work
from edgetran_protos.errors import ExportError

FREE = {  # change no data, or are folded when the graph is loaded
    "Constant", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Shape", "Cast",
    "CastLike",
}  # fmt: skip
FLOAT_PRODUCTS = {"MatMul", "Gemm", "Conv"}
INT_PRODUCTS = {"MatMulInteger", "ConvInteger"}

Shape = tuple[int, ...]


@dataclass
class _Sizes:
    """What is known of every tensor of a graph."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)  # bytes an element
    constants: set[str] = field(default_factory=set)

    def shape_of(self, name: str) -> Shape:
        """Raises ExportError when it cannot be worked out."""
        shape = self.shapes.get(name)
        if shape is None or (0 in shape and name not in self.constants):
            raise ExportError(f"the shape of {name} in the graph is not known")
        return shape

    def bytes_of(self, name: str) -> int:
        return math.prod(self.shape_of(name)) * self.widths[name]


def count_work(path: Path) -> Work:
    """The work of one row. Raises ExportError when a shape cannot be worked out."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as exc:
        first = str(exc).strip().splitlines()[0]
        raise ExportError(f"the shapes of {path.name} are inconsistent: {first}") from exc
    sizes = _sizes(graph)
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather"} & sizes.constants
    read = {name for node in graph.node for name in node.input} & sizes.constants
    return Work(
        matmul_flops=sum(_product(n, sizes) for n in graph.node if n.op_type in FLOAT_PRODUCTS),
        int8_ops=sum(_product(n, sizes) for n in graph.node if n.op_type in INT_PRODUCTS),
        elementwise_bytes=float(sum(_moved(node, sizes) for node in graph.node)),
        weight_bytes=float(sum(sizes.bytes_of(name) for name in read - tables)),
        embedding_bytes=float(sum(sizes.bytes_of(name) for name in tables)),
        kernel_launches=sum(node.op_type not in FREE for node in graph.node),
    )


def _sizes(graph: onnx.GraphProto) -> _Sizes:
    sizes = _Sizes()
    for tensor in graph.initializer:
        sizes.shapes[tensor.name] = tuple(tensor.dims)
        sizes.widths[tensor.name] = _width(tensor.data_type)
        sizes.constants.add(tensor.name)
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            sizes.shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
        sizes.widths[value.name] = _width(kind.elem_type)
    sizes.constants |= {n.output[0] for n in graph.node if n.op_type == "Constant"}
    return sizes


def _width(kind: int) -> int:
    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)


def _product(node: onnx.NodeProto, sizes: _Sizes) -> float:
    """Two operations a multiply-add."""
    out, left = sizes.shape_of(node.output[0]), sizes.shape_of(node.input[0])
    if node.op_type.startswith("Conv"):
        depth = math.prod(sizes.shape_of(node.input[1])[1:])
    else:
        transposed = node.op_type == "Gemm" and _attribute(node, "transA")
        depth = left[0] if transposed else left[-1]
    return 2.0 * math.prod(out) * depth


def _moved(node: onnx.NodeProto, sizes: _Sizes) -> int:
    """Activation bytes that an operation other than a product reads and writes."""
    if node.op_type in FREE | FLOAT_PRODUCTS | INT_PRODUCTS:
        return 0
    named = [name for name in (*node.input, *node.output) if name]  # '': an input left out
    return sum(sizes.bytes_of(name) for name in named if name not in sizes.constants)


def _attribute(node: onnx.NodeProto, name: str) -> int:
    found: Mapping[str, int] = {a.name: a.i for a in node.attribute}
    return found.get(name, 0)
