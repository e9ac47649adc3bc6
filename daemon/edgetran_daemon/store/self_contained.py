"""Refuses an ONNX graph that names files beside itself: its weights must be in its own blob.

A graph may say of a tensor that its data lie in another file, at any path. On a board that
file would be another bundle's blob, or anything the daemon may read. So the graph's bytes are
walked before a runtime sees them: only the messages that can hold a tensor (onnx.proto) are
entered, all others skipped by their length.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from edgetran_protos.errors import BundleError

from edgetran_daemon.runtimes.protobuf_wire import BYTES, VARINT, WIDTHS, varint

EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
INSIDE = {  # message -> field -> message
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}


def check_self_contained(path: Path) -> None:
    """Raises BundleError."""
    if not path.stat().st_size:
        raise BundleError(f"the graph {path.name} is empty", hint="pack it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            with memoryview(data) as view:
                outside = names_files(view)
        except (IndexError, ValueError) as exc:
            raise BundleError(f"the graph {path.name} is no ONNX: {exc}") from exc
    if outside:
        raise BundleError(
            f"the graph {path.name} keeps weights in other files",
            hint="save it with its weights inside",
        )


def names_files(data: memoryview[int]) -> bool:
    """Whether a tensor anywhere in the graph lies outside. Raises IndexError, ValueError."""
    todo = [("model", 0, len(data))]
    while todo:
        kind, at, end = todo.pop()
        while at < end:
            tag, at = varint(data, at)
            field, wire = tag >> 3, tag & 7
            if wire == VARINT:
                value, at = varint(data, at)
                if kind == "tensor" and field == DATA_LOCATION and value:
                    return True
                continue
            size, at = varint(data, at) if wire == BYTES else (_width(wire), at)
            if size > end - at:
                raise ValueError(f"{size} bytes announced, {end - at} there")
            if kind == "tensor" and field == EXTERNAL_DATA:
                return True
            if wire == BYTES and field in INSIDE[kind]:
                todo.append((INSIDE[kind][field], at, at + size))
            at += size
    return False


def _width(wire: int) -> int:
    if wire not in WIDTHS:
        raise ValueError(f"no wire type {wire}")
    return WIDTHS[wire]
