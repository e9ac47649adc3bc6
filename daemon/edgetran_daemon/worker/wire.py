"""Frames between the supervisor and a worker: a JSON header, then raw tensors.

4 bytes  length of the header, big-endian
8 bytes  seconds that the runtime took, a big-endian double; 0 in a request
header   {"op": ..., "tensors": [[name, dtype, shape], ...], ...}
bytes    the tensors in that order, C-contiguous, the machine's byte order

The frames of a model's runs hardly differ but in their bytes and seconds, so each side keeps the
headers of runs that it wrote and read lately.
"""

import json
import struct
from functools import lru_cache
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from edgetran_daemon.runtimes.base import Tensor

Header = Dict[str, Any]
Entry = Tuple[str, str, Tuple[int, ...]]  # name, dtype, shape

PREFIX = struct.Struct(">Id")
MAX_HEADER_BYTES = 1 << 20
KEPT_HEADERS = 256
KEPT_HEADER_BYTES = 4096  # a longer one is made and read anew each time
OUT_OF_MEMORY = 12  # the status a worker leaves with when a request does not fit its memory


class Layout(NamedTuple):
    """A header that was read, and where its tensors lie in the bytes that follow."""

    header: Header  # shared between frames: not to be changed
    tensors: Tuple[Tuple[str, "np.dtype[Any]", Tuple[int, ...], int], ...]  # the last: its start
    size_bytes: int


def pack(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor], seconds: float = 0.0
) -> List[bytes]:
    """The pieces of one frame, to be written in order; a run's question or its answer is known."""
    entries = tuple((name, array.dtype.str, array.shape) for name, array in tensors.items())
    kept = (seconds or header.get("op") == "run") and sum(map(len, tensors)) <= KEPT_HEADER_BYTES
    text = _kept_text(tuple(header.items()), entries) if kept else _text(header, entries)
    return [
        PREFIX.pack(len(text), seconds),
        text,
        *(array.tobytes() for array in tensors.values()),  # in C order, whatever its strides
    ]


@lru_cache(maxsize=KEPT_HEADERS)
def _kept_text(header: Tuple[Tuple[str, Any], ...], entries: Tuple[Entry, ...]) -> bytes:
    return _text(dict(header), entries)


def _text(header: Mapping[str, Any], entries: Tuple[Entry, ...]) -> bytes:
    return json.dumps({**header, "tensors": entries}).encode()


def read_prefix(data: "bytes | bytearray") -> Tuple[int, float]:
    """Bytes of the header, and seconds."""
    length, seconds = PREFIX.unpack(data)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes is no frame of ours")
    return int(length), float(seconds)


def read_header(text: bytes, keep: bool = True) -> Layout:
    """The same object for the same text, while it is kept."""
    return _kept_layout(text) if keep and len(text) <= KEPT_HEADER_BYTES else _layout(text)


@lru_cache(maxsize=KEPT_HEADERS)
def _kept_layout(text: bytes) -> Layout:
    return _layout(text)


def _layout(text: bytes) -> Layout:
    header = json.loads(text.decode())
    found, start = [], 0
    for name, code, shape in header["tensors"]:
        kind = np.dtype(code)
        found.append((name, kind, tuple(shape), start))
        size = kind.itemsize
        for length in shape:
            size *= length
        start += size
    return Layout(header, tuple(found), start)


def unpack_tensors(layout: Layout, body: "bytes | bytearray") -> Dict[str, Tensor]:
    """Views of the bytes."""
    return {
        name: np.ndarray(shape, kind, body, start) for name, kind, shape, start in layout.tensors
    }
