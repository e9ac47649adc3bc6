"""Frames between the supervisor and a worker: a JSON header, then raw tensors.

4 bytes  length of the header, big-endian
header   {"op": ..., "tensors": [{"name", "dtype", "shape"}, ...], ...}
bytes    the tensors in that order, C-contiguous, the machine's byte order
"""

import json
import struct
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from edgetran_daemon.runtimes.base import Tensor

Header = Dict[str, Any]

LENGTH = struct.Struct(">I")
MAX_HEADER_BYTES = 1 << 20
OUT_OF_MEMORY = 12  # the status a worker leaves with when a request does not fit its memory


def pack(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> List[bytes]:
    """The pieces of one frame, to be written in order."""
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    described = [
        {"name": name, "dtype": array.dtype.str, "shape": array.shape}
        for name, array in arrays.items()
    ]
    text = json.dumps({**header, "tensors": described}).encode()
    return [LENGTH.pack(len(text)), text, *(array.tobytes() for array in arrays.values())]


def header_length(data: bytes) -> int:
    (length,) = LENGTH.unpack(data)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes is no frame of ours")
    return int(length)


def tensor_sizes(header: Mapping[str, Any]) -> List[int]:
    """Bytes of each tensor that follows the header."""
    found = []
    for entry in header["tensors"]:
        size = np.dtype(entry["dtype"]).itemsize
        for length in entry["shape"]:
            size *= length
        found.append(size)
    return found


def pieces_of(header: Mapping[str, Any], body: "bytes | bytearray") -> List[memoryview]:
    """Each tensor's bytes, not copied."""
    found, start, view = [], 0, memoryview(body)
    for size in tensor_sizes(header):
        found.append(view[start : start + size])
        start += size
    return found


def unpack_tensors(
    header: Mapping[str, Any], pieces: Sequence["bytes | memoryview"]
) -> Dict[str, Tensor]:
    return {
        entry["name"]: np.frombuffer(data, entry["dtype"]).reshape(entry["shape"])
        for entry, data in zip(header["tensors"], pieces)
    }
