"""What an ONNX graph says of itself, read without onnx's own package, which boards lack.

Some runtimes change the types of inputs, or read beyond a table and say nothing; the graph
knows better. Only the messages that matter are entered (field numbers of onnx.proto).
"""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from edgetran_daemon.runtimes.base import RuntimeFailure, TensorSpec
from edgetran_daemon.runtimes.protobuf_wire import BYTES, VARINT, WIDTHS, varint

DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


class OnnxFile(NamedTuple):
    """`table_rows`: how many rows an input may choose from. `properties`: its own notes."""

    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]
    table_rows: Mapping[str, int]
    properties: Mapping[str, str]


class Node(NamedTuple):
    kind: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    axis: int


def read_onnx(data: bytes) -> OnnxFile:
    """Raises RuntimeFailure."""
    try:
        found = _read(memoryview(data))
    except (IndexError, KeyError, ValueError) as exc:
        raise RuntimeFailure(f"the graph is no ONNX that edgetran carries: {exc}") from exc
    if not found.inputs or not found.outputs:
        raise RuntimeFailure("the graph is no ONNX: it has no inputs or no outputs")
    return found


def _read(data: "memoryview[int]") -> OnnxFile:
    model = _gathered(data)
    (graph,) = (_gathered(part) for part in model.get(7, ()))
    shapes = dict(_tensor(part) for part in graph.get(5, ()))
    inputs = [_spec(part) for part in graph.get(11, ())]
    nodes = [_node(part) for part in graph.get(1, ())]
    properties = [_gathered(part) for part in model.get(14, ())]
    return OnnxFile(
        tuple(spec for spec in inputs if spec.name not in shapes),
        tuple(_spec(part) for part in graph.get(12, ())),
        _table_rows(nodes, shapes, {spec.name for spec in inputs}),
        {_text(entry[1]): _text(entry[2]) for entry in properties if 2 in entry},
    )


def _table_rows(
    nodes: List[Node], shapes: Mapping[str, Tuple[int, ...]], inputs: "set[str]"
) -> Dict[str, int]:
    made_by = {name: node for node in nodes for name in node.outputs}
    found: Dict[str, int] = {}
    for node in nodes:
        if node.kind != "Gather" or node.inputs[0] not in shapes:
            continue
        name = node.inputs[1]
        while name in made_by and made_by[name].kind in ("Cast", "Identity"):
            name = made_by[name].inputs[0]
        if name in inputs:
            rows = shapes[node.inputs[0]][node.axis]
            found[name] = min(rows, found.get(name, rows))
    return found


def _node(data: "memoryview[int]") -> Node:
    fields = _gathered(data)
    attributes = [_gathered(part) for part in fields.get(5, ())]
    axes = [entry[3][0] for entry in attributes if _text(entry[1]) == "axis" and 3 in entry]
    inputs, outputs = (tuple(_text([name]) for name in fields.get(n, ())) for n in (1, 2))
    return Node(_text(fields[4]), inputs, outputs, axes[0] if axes else 0)


def _tensor(data: "memoryview[int]") -> Tuple[str, Tuple[int, ...]]:
    fields = _gathered(data)
    shape: List[int] = []
    for part in fields.get(1, ()):
        shape += [part] if isinstance(part, int) else _packed(part)
    return _text(fields[8]), tuple(shape)


def _spec(data: "memoryview[int]") -> TensorSpec:
    fields = _gathered(data)
    tensor = _gathered(_gathered(fields[2][0])[1][0])
    dimensions = _gathered(tensor[2][0]).get(1, ()) if 2 in tensor else ()
    sizes = [_gathered(part).get(1, [None])[0] for part in dimensions]
    shape: Tuple[Optional[int], ...] = tuple(sizes)
    return TensorSpec(_text(fields[1]), DTYPES[tensor[1][0]], shape)


def _text(values: List[Any]) -> str:
    return bytes(values[0]).decode()


def _gathered(data: "memoryview[int]") -> Dict[int, List[Any]]:
    """Field -> its values: numbers, or the bytes of texts and messages."""
    found: Dict[int, List[Any]] = {}
    for field, value in _fields(data):
        found.setdefault(field, []).append(value)
    return found


def _fields(data: "memoryview[int]") -> Iterator[Tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        field, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = varint(data, at)
            yield field, value
            continue
        size, at = varint(data, at) if wire == BYTES else (WIDTHS[wire], at)
        if size > len(data) - at:
            raise ValueError(f"{size} bytes announced, {len(data) - at} there")
        yield field, data[at : at + size]
        at += size


def _packed(data: "memoryview[int]") -> List[int]:
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(value)
    return found
