"""Tensors in shared memory of this machine, where the server says that it has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import grpc
import numpy as np

from edgetran.conformance.core import INVALID, NOT_FOUND
from edgetran.conformance.outcome import NotOffered, ask
from edgetran.conformance.server import Server, details, status
from edgetran.conformance.tensors import arrays, close, raw
from edgetran.convert import BYTES, DATATYPES, Tensor, strings

EXTENSION = "system_shared_memory"
ROOM_BYTES = 1 << 16  # for the outputs of one row
REFUSALS = (INVALID, NOT_FOUND, grpc.StatusCode.INTERNAL)  # Triton: a region it cannot map


@contextmanager
def _region(server: Server, name: str, contents: bytes = b"") -> Iterator[SharedMemory]:
    """A registered one that begins with the contents."""
    if EXTENSION not in server.call("ServerMetadata").extensions:
        raise NotOffered(f"{EXTENSION} is not among the server's extensions")
    memory = SharedMemory(create=True, size=max(ROOM_BYTES, len(contents)))
    try:
        _buffer(memory)[: len(contents)] = contents
        server.call(
            "SystemSharedMemoryRegister", name=name, key=f"/{memory.name}", byte_size=memory.size
        )
        try:
            yield memory
        finally:
            server.call("SystemSharedMemoryUnregister", name=name)
    finally:
        memory.close()
        memory.unlink()


def _buffer(memory: SharedMemory) -> memoryview:
    found = memory.buf
    assert found is not None, "it is open"
    return found


def _placed(tensor: Any, region: str, size_bytes: int, offset: int) -> None:
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = size_bytes
    tensor.parameters["shared_memory_offset"].int64_param = offset


def _moved(request: Any, region: str) -> bytes:
    """Takes the raw contents out of the request, which names their places instead."""
    contents = list(request.raw_input_contents)
    offset = 0
    for tensor, data in zip(request.inputs, contents):
        _placed(tensor, region, len(data), offset)
        offset += len(data)
    del request.raw_input_contents[:]
    return b"".join(contents)


def shared_inputs_are_answered_like_sent_ones(server: Server) -> None:
    tensors = server.tensors()
    wanted = server.infer(tensors)
    request = server.request(tensors)
    with _region(server, "conformance-in", _moved(request, "conformance-in")):
        for name, values in arrays(server.send(request)).items():
            ask(close(values, wanted[name]), f"{name} differs from the answer to raw tensors")


def shared_outputs_are_written_where_asked(server: Server) -> None:
    tensors = server.tensors()
    wanted = server.infer(tensors)
    name, values = next(iter(wanted.items()))
    request = server.request(tensors)
    datatype = next(spec.datatype for spec in server.metadata.outputs if spec.name == name)
    size = len(raw(values, datatype))
    with _region(server, "conformance-out") as memory:
        _placed(request.outputs.add(name=name), "conformance-out", size, 64)
        (told,) = server.send(request).outputs
        ask(list(told.shape) == list(values.shape), f"{name} is said to be {list(told.shape)}")
        held = _buffer(memory).tobytes()
        found = _tensor(held[64 : 64 + size], datatype).reshape(values.shape)
        ask(close(found, values), f"{name} in shared memory differs from it in the answer")
        ask(not any(held[:64]), "bytes before the place were written")
        ask(not any(held[64 + size :]), "bytes after the place were written")


def _tensor(data: bytes, datatype: str) -> Tensor:
    if datatype == BYTES:
        return strings(data)
    found: Tensor = np.frombuffer(data, DATATYPES[datatype])
    return found


def regions_are_listed_until_they_are_unregistered(server: Server) -> None:
    name = "conformance-listed"
    with _region(server, name) as memory:
        found = server.call("SystemSharedMemoryStatus", name=name).regions
        ask(list(found) == [name], f"{sorted(found)} were listed")
        ask(found[name].byte_size == memory.size, f"its size is {found[name].byte_size}")
    ask(name not in server.call("SystemSharedMemoryStatus").regions, "it is listed still")
    request = server.request(server.tensors())
    _moved(request, name)
    server.refuses(request, INVALID, NOT_FOUND)


def places_beyond_a_region_are_refused(server: Server) -> None:
    request = server.request(server.tensors())
    with _region(server, "conformance-small", _moved(request, "conformance-small")) as memory:
        request.inputs[0].parameters["shared_memory_offset"].int64_param = memory.size
        server.refuses(request, INVALID)
        try:
            server.call(
                "SystemSharedMemoryRegister",
                name="conformance-large",
                key=f"/{memory.name}",
                byte_size=1 << 40,
            )
        except grpc.RpcError as exc:
            found = status(exc)
            ask(found in REFUSALS, f"refused as {found}: {details(exc)}")
        else:
            server.call("SystemSharedMemoryUnregister", name="conformance-large")
            ask(False, "a region larger than its memory was registered")


CHECKS = (
    shared_inputs_are_answered_like_sent_ones,
    shared_outputs_are_written_where_asked,
    regions_are_listed_until_they_are_unregistered,
    places_beyond_a_region_are_refused,
)
