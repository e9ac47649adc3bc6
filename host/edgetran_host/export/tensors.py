"""What is known of the tensors of an ONNX graph, ours or foreign, before anything runs.

Open axes get lengths, then shapes come from ONNX's own inference; where operators of ONNX
Runtime's stand, the two inferences take turns until neither learns more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from edgetran_protos.errors import ExportError, UsageError
from numpy.typing import NDArray
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
from onnx.reference import ReferenceEvaluator

Shape = tuple[int, ...]

SMALL = 1024  # elements; shape inference reads the values of no larger constant
COMPUTED = {  # what exporters compute shapes with
    "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor",
    "Gather", "Identity", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Range", "ReduceProd",
    "Reshape", "Size", "Slice", "Squeeze", "Sub", "Unsqueeze", "Where",
}  # fmt: skip
SILENT = 4  # ONNX Runtime's severity: what it cannot load is ours to report
LENGTH_LIKE = re.compile(r"seq|len|time|step|frame|token", re.IGNORECASE)
BITS = {
    kind: bits
    for name, bits in {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.items()
    if (kind := getattr(onnx.TensorProto, name, None)) is not None
}


@dataclass
class Tensors:
    """Shapes where they could be worked out, element types, and what never changes."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)  # TensorProto's data types
    constants: dict[str, float] = field(default_factory=dict)  # name -> bytes kept of it
    dequantised: set[str] = field(default_factory=set)  # constants that are kept in 8 bits

    def shape_of(self, name: str) -> Shape:
        """Raises ExportError when it cannot be worked out."""
        if name not in self.shapes:
            raise ExportError(f"the shape of {name} in the graph is not known")
        return self.shapes[name]

    def bytes_of(self, name: str) -> float:
        kind = self.kinds.get(name, onnx.TensorProto.UNDEFINED)
        if kind == onnx.TensorProto.UNDEFINED:
            raise ExportError(f"the type of {name} in the graph is not known")
        bits = BITS.get(kind) or 8 * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
        return math.prod(self.shape_of(name)) * bits / 8

    def fold(self, node: onnx.NodeProto) -> None:
        """Makes the outputs of a node that reads constants alone constants too.

        Kept is the smaller of what it reads and what it makes: weights in 8 bits stay so.
        """
        read = sum(self.constants[name] for name in node.input if name)
        for name in filter(None, node.output):
            made = self.bytes_of(name) if name in self.shapes else read
            self.constants[name] = min(read, made) if node.input else made
        if node.op_type == "DequantizeLinear":
            self.dequantised.add(node.output[0])


def read_graph(path: Path) -> onnx.ModelProto:
    """Without large weights that lie in other files. Raises ExportError."""
    try:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            if uses_external_data(tensor) and math.prod(tensor.dims) <= SMALL:
                load_external_data_for_tensor(tensor, str(path.parent))
        return onnx.inliner.inline_local_functions(model) if model.functions else model
    except Exception as exc:  # protobuf's, the checker's and the file system's share no base
        raise ExportError(
            f"{path.name} is no ONNX graph that can be read: {exc}",
            hint="export the model as ONNX again, weights in other files beside it",
        ) from exc


def set_lengths(model: onnx.ModelProto, lengths: Mapping[str, int]) -> dict[str, int]:
    """Gives every open axis of the inputs its length, in place; the lengths in use.

    An axis without a name is called after its input and place, "x.0". What `lengths`
    leaves out is one row if it comes first in every input that has it; else UsageError.
    """
    places: dict[str, set[int]] = {}
    for name, at, _ in _open_axes(model.graph):
        places.setdefault(name, set()).add(at)
    if unknown := sorted(set(lengths) - set(places)):
        known = ", ".join(places) or "none"
        raise UsageError(f"no open axis {', '.join(unknown)}", hint=f"there is: {known}")
    rows = {n for n, at in places.items() if at == {0} and not LENGTH_LIKE.search(n)}
    if asked := sorted(set(places) - rows - set(lengths)):
        example = ", ".join(f"{name!r}: 128" for name in asked)
        raise UsageError(
            f"the graph leaves open how long {', '.join(asked)} is", hint=f"lengths={{{example}}}"
        )
    used = {name: lengths.get(name, 1) for name in places}
    for name, _, dim in list(_open_axes(model.graph)):
        dim.dim_value = used[name]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in used:
                dim.dim_value = used[dim.dim_param]
    return used


def infer(model: onnx.ModelProto, name: str) -> Tensors:
    """name: the graph's, for errors. Raises ExportError when its shapes contradict each other."""
    found = Tensors()
    for tensor in model.graph.initializer:
        found.shapes[tensor.name] = tuple(tensor.dims)
        found.kinds[tensor.name] = tensor.data_type
        found.constants[tensor.name] = found.bytes_of(tensor.name)
    light = _without_weights(model)
    while True:
        try:
            light = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True)
        except onnx.shape_inference.InferenceError as exc:
            first = str(exc).strip().splitlines()[0]
            raise ExportError(f"the shapes of {name} are inconsistent: {first}") from exc
        _take(light.graph, found)
        names = {out for node in light.graph.node for out in node.output if out}
        missing = names - set(found.shapes)
        if missing and _compute(light.graph, model, found):
            continue
        if not missing or not any(node.domain for node in light.graph.node):
            return found
        learnt = [value for value in _by_onnxruntime(light) if value.name in missing]
        if not learnt:
            return found
        given = {value.name for value in learnt}
        kept = [value for value in light.graph.value_info if value.name not in given]
        del light.graph.value_info[:]
        light.graph.value_info.extend([*kept, *learnt])


def _open_axes(
    graph: onnx.GraphProto,
) -> Iterator[tuple[str, int, onnx.TensorShapeProto.Dimension]]:
    constants = {tensor.name for tensor in graph.initializer}  # inputs too in old graphs
    for value in graph.input:
        if value.name not in constants:
            for at, dim in enumerate(value.type.tensor_type.shape.dim):
                if not dim.HasField("dim_value"):
                    yield dim.dim_param or f"{value.name}.{at}", at, dim


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Large constants become inputs: inference needs no more, and its copies stay small."""
    graph = model.graph
    inputs = {value.name for value in graph.input}
    large = [t for t in graph.initializer if math.prod(t.dims) > SMALL]
    light = onnx.ModelProto()
    light.CopyFrom(model)
    del light.graph.initializer[:], light.graph.value_info[:]
    light.graph.initializer.extend(t for t in graph.initializer if math.prod(t.dims) <= SMALL)
    light.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, tuple(t.dims))
        for t in large
        if t.name not in inputs
    )
    return light


def _take(graph: onnx.GraphProto, found: Tensors) -> None:
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type and value.name not in found.kinds:
            found.kinds[value.name] = kind.elem_type
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            found.shapes.setdefault(value.name, tuple(d.dim_value for d in kind.shape.dim))


def _compute(graph: onnx.GraphProto, model: onnx.ModelProto, found: Tensors) -> bool:
    """Puts small values that follow from known shapes in their nodes' places; whether any did."""
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    progress = False
    for node in graph.node:
        known = all(name in values for name in node.input if name)
        if node.op_type == "Shape" and node.input[0] in found.shapes:
            first = {a.name: a.i for a in node.attribute}
            shape = found.shapes[node.input[0]]
            value: NDArray[Any] = np.array(
                shape[first.get("start", 0) : first.get("end")], np.int64
            )
        elif known and len(node.output) == 1 and node.op_type in COMPUTED and not node.domain:
            evaluator = ReferenceEvaluator(node, opsets=opsets)
            given = {name: values[name] for name in node.input if name}
            try:
                (value,) = cast("list[NDArray[Any]]", evaluator.run(None, given))
            except Exception:  # its errors share no base class; what stays unknown is reported
                continue
        else:
            continue
        if value.size <= SMALL:
            name = node.output[0]
            values[name] = value
            tensor = onnx.numpy_helper.from_array(np.asarray(value), name)
            node.CopyFrom(onnx.helper.make_node("Constant", [], [name], node.name, value=tensor))
            progress = True
    return progress


def _by_onnxruntime(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What ONNX Runtime knows type and shape of; nothing where it does not load the graph."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    shown = {value.name for value in probed.graph.output}
    probed.graph.output.extend(
        onnx.ValueInfoProto(name=name)
        for node in probed.graph.node
        for name in node.output
        if name and name not in shown
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = SILENT
    try:
        session = onnxruntime.InferenceSession(
            probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # its errors share no base class; what stays unknown is reported
        return []
    return [
        onnx.helper.make_tensor_value_info(out.name, KINDS[out.type], out.shape)
        for out in session.get_outputs()
        if out.type in KINDS and all(isinstance(dim, int) for dim in out.shape)
    ]


KINDS = {
    f"tensor({word})": kind
    for word, kind in {
        "float": onnx.TensorProto.FLOAT,
        "float16": onnx.TensorProto.FLOAT16,
        "bfloat16": onnx.TensorProto.BFLOAT16,
        "double": onnx.TensorProto.DOUBLE,
        "int8": onnx.TensorProto.INT8,
        "uint8": onnx.TensorProto.UINT8,
        "int32": onnx.TensorProto.INT32,
        "int64": onnx.TensorProto.INT64,
        "bool": onnx.TensorProto.BOOL,
    }.items()
}  # ONNX Runtime's names
