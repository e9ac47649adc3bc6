"""Counts what one run of an ONNX graph costs, operator by operator, of ours and of any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from edgetran_protos.bundle import Work
from edgetran_protos.errors import ExportError

from edgetran_host.export.products import Products, operator_of, rule_of
from edgetran_host.export.tensors import Tensors, infer, read_graph, set_lengths

FREE = {  # change no data, or are folded when the graph is loaded
    "Constant", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Shape", "Cast",
    "CastLike",
}  # fmt: skip
TABLES = {"Gather": (0,), "EmbedLayerNormalization": (2, 3, 4)}  # inputs that are looked up
IN_INT8_BETWEEN = {"MatMul", "Gemm", "Conv"}  # scales; runtimes fuse the three


@dataclass(frozen=True)
class OperatorWork:
    """All nodes of one operator together."""

    nodes: int = 0
    matmul_flops: float = 0.0
    int8_ops: float = 0.0
    moved_bytes: float = 0.0  # activations that others than products read and write
    weight_bytes: float = 0.0  # counted with the first operator that reads them
    embedding_bytes: float = 0.0

    def __add__(self, other: OperatorWork) -> OperatorWork:
        return OperatorWork(
            self.nodes + other.nodes,
            self.matmul_flops + other.matmul_flops,
            self.int8_ops + other.int8_ops,
            self.moved_bytes + other.moved_bytes,
            self.weight_bytes + other.weight_bytes,
            self.embedding_bytes + other.embedding_bytes,
        )


@dataclass(frozen=True)
class Uncounted:
    """A node whose cost is missing from the sums."""

    name: str
    operator: str
    reason: str


@dataclass(frozen=True)
class GraphWork:
    """What one run costs, and what of it could not be counted."""

    total: Work
    operators: Mapping[str, OperatorWork]
    uncounted: tuple[Uncounted, ...]
    lengths: Mapping[str, int]  # of the axes that the graph leaves open


def count_work(path: Path) -> Work:
    """The work of one row. Raises ExportError when a node's cost cannot be worked out."""
    found = count_graph(path)
    if found.uncounted:
        first = found.uncounted[0]
        more = f", and {len(found.uncounted) - 1} more" if len(found.uncounted) > 1 else ""
        raise ExportError(
            f"what {first.operator} {first.name} costs is not known: {first.reason}{more}",
            hint="count_graph counts the rest and lists what is missing",
        )
    return found.total


def count_graph(path: Path, lengths: Mapping[str, int] | None = None) -> GraphWork:
    """The work of one run of any ONNX graph; what no rule counts is listed, never zero.

    lengths: of open axes by name, say {"sequence": 128}; one that comes first in every
    input is taken for the batch, of one row. Raises ExportError, UsageError.
    """
    model = read_graph(path)
    used = set_lengths(model, lengths or {})
    tensors = infer(model, path.name)
    counter = _Counter(tensors, list(_running(model.graph, tensors)))
    operators: dict[str, OperatorWork] = {}
    uncounted: list[Uncounted] = []
    for node in counter.nodes:
        operator = operator_of(node)
        try:
            work = counter.work_of(node)
        except ExportError as exc:
            uncounted.append(Uncounted(node.name or node.output[0], operator, str(exc)))
        else:
            operators[operator] = operators.get(operator, OperatorWork()) + work
    return GraphWork(_total(operators), operators, tuple(uncounted), used)


class _Counter:
    """Counts nodes one by one; a constant counts with its first reader."""

    def __init__(self, tensors: Tensors, nodes: Sequence[onnx.NodeProto]) -> None:
        self.nodes = nodes
        self._tensors = tensors
        self._scaled = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
        self._scaled |= tensors.dequantised
        self._whole = {
            name
            for node in nodes
            for at, name in enumerate(node.input)
            if at not in TABLES.get(node.op_type, ())
        }
        self._read: set[str] = set()

    def work_of(self, node: onnx.NodeProto) -> OperatorWork:
        """Raises ExportError when it cannot be worked out."""
        rule = rule_of(node)
        products = rule(node, self._tensors.shape_of) if rule else Products()
        if node.op_type in IN_INT8_BETWEEN and self._scaled.issuperset(node.input[:2]):
            products = Products(int8_ops=products.float_ops)
        constants = self._tensors.constants
        names = [name for name in (*node.input, *node.output) if name]  # '': one left out
        moved = 0.0
        if not rule and node.op_type not in FREE:
            moved = sum(self._tensors.bytes_of(name) for name in names if name not in constants)
        new = {name for name in names if name in constants} - self._read
        self._read |= new
        return OperatorWork(
            nodes=1,
            matmul_flops=products.float_ops,
            int8_ops=products.int8_ops,
            moved_bytes=moved,
            weight_bytes=sum(constants[name] for name in new & self._whole),
            embedding_bytes=sum(constants[name] for name in new - self._whole),
        )


def _running(graph: onnx.GraphProto, tensors: Tensors) -> Iterator[onnx.NodeProto]:
    """Nodes that depend on the inputs; the others are computed when the graph is loaded."""
    for node in graph.node:
        named = [name for name in node.input if name]
        if node.op_type == "Constant" or (named and set(named) <= tensors.constants.keys()):
            tensors.fold(node)
        else:
            yield node


def _total(operators: Mapping[str, OperatorWork]) -> Work:
    whole = sum(operators.values(), OperatorWork())
    return Work(
        matmul_flops=whole.matmul_flops,
        int8_ops=whole.int8_ops,
        elementwise_bytes=whole.moved_bytes,
        weight_bytes=whole.weight_bytes,
        embedding_bytes=whole.embedding_bytes,
        kernel_launches=sum(w.nodes for name, w in operators.items() if name not in FREE),
    )
