"""Tensors of the Open Inference Protocol to arrays and back, raw, typed or in shared memory.

Strings (BYTES) are arrays of dtype object that hold bytes; raw, each has its length
before it: 4 bytes, little-endian. A client's requests hardly differ but in their contents, so
what is known of a raw tensor's name, type and shape is kept.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Optional

import numpy as np
from edgetran_protos.errors import InputError
from edgetran_protos.open_inference import message

from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.services.classification import best_classes
from edgetran_daemon.services.shared_tensors import SharedTensors, in_shared_memory
from edgetran_daemon.serving.shared_memory import Regions

BYTES = "BYTES"
DATATYPES: Mapping[str, str] = {  # Open Inference Protocol name -> little-endian numpy type
    "BOOL": "|b1",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
TYPED_FIELDS: Mapping[str, str] = {  # where typed contents of a datatype live
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
LENGTH = struct.Struct("<I")
MOST_DIMENSIONS = 32  # of an array, before numpy 2
KEPT_FORMS = 256
KEPT_FORM_BYTES = 1024  # a longer description is read anew each time
NOT_SHARED = SharedTensors(Regions(), 0)  # refuses every tensor that lies in shared memory


class Form(NamedTuple):
    """A raw tensor of numbers without its contents."""

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    size_bytes: int


@lru_cache(maxsize=KEPT_FORMS)
def datatype(dtype: str) -> str:
    if np.dtype(dtype) == np.dtype(object):
        return BYTES
    code = np.dtype(dtype).newbyteorder("<").str
    for name, known in DATATYPES.items():
        if np.dtype(known).str == code:
            return name
    raise InputError(f"tensors of type {dtype} cannot be sent")


def infer_inputs(request: Any, shared: SharedTensors = NOT_SHARED) -> dict[str, Tensor]:
    """A ModelInferRequest's tensors, raw, typed or shared. Raises InputError."""
    inputs = request.inputs
    sent = [tensor for tensor in inputs if not in_shared_memory(tensor)]
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(sent):
        raise InputError(
            f"{len(sent)} inputs came with {len(raw)} raw contents",
            hint="send the contents of all inputs raw, in their order, or of none",
        )
    found: dict[str, Tensor] = {}
    contents = iter(raw)
    for tensor in inputs:
        name = tensor.name
        if name in found:
            raise InputError(f"input {name!r} came twice")
        if in_shared_memory(tensor):
            found[name] = _raw_array(tensor, shared.read(tensor))
        else:
            found[name] = _raw_array(tensor, next(contents)) if raw else _array(tensor, None)
    return found


def _raw_array(tensor: Any, data: bytes) -> Tensor:
    described = tensor.SerializeToString()
    form = _form(described) if len(described) <= KEPT_FORM_BYTES else None
    if form is None or len(data) != form.size_bytes:
        return _array(tensor, data)  # which says what is wrong with it
    return np.ndarray(form.shape, form.kind, data)


@lru_cache(maxsize=KEPT_FORMS)
def _form(described: bytes) -> Optional[Form]:
    """None: not numbers, none of them, or not as it should be."""
    tensor = message("ModelInferRequest.InferInputTensor").FromString(described)
    try:
        _check(tensor, b"")
    except InputError:
        return None
    if tensor.datatype == BYTES or 0 in tensor.shape:
        return None
    kind = np.dtype(DATATYPES[tensor.datatype])
    size_bytes = math.prod(tensor.shape) * kind.itemsize
    return Form(kind, tuple(tensor.shape), size_bytes)


def _array(tensor: Any, data: Optional[bytes]) -> Tensor:
    _check(tensor, data)
    if data is None:
        flat = _typed(tensor)
    elif tensor.datatype == BYTES:
        flat = _strings(tensor.name, data)
    else:
        flat = _numbers(tensor, data)
    count = math.prod(tensor.shape)
    if len(flat) != count:
        raise InputError(
            f"input {tensor.name!r} has {len(flat)} elements,"
            f" its shape {list(tensor.shape)} needs {count}"
        )
    try:
        return flat.reshape(tuple(tensor.shape))
    except ValueError as exc:  # empty, and the other sizes beyond what an array can have
        raise InputError(f"input {tensor.name!r}: {exc}") from exc


def _check(tensor: Any, data: Optional[bytes]) -> None:
    name = tensor.name
    known = [*DATATYPES, BYTES] if data is not None else list(TYPED_FIELDS)
    if tensor.datatype not in known:
        raise InputError(
            f"input {name!r} has datatype {tensor.datatype!r}", hint=f"known: {', '.join(known)}"
        )
    if len(tensor.shape) > MOST_DIMENSIONS:
        raise InputError(
            f"input {name!r} has {len(tensor.shape)} dimensions",
            hint=f"at most {MOST_DIMENSIONS} are possible",
        )
    if any(size < 0 for size in tensor.shape):
        raise InputError(
            f"input {name!r} has shape {list(tensor.shape)}", hint="send the sizes that it has"
        )
    if data is not None and tensor.HasField("contents"):
        raise InputError(
            f"input {name!r} has typed contents beside raw ones", hint="send one of them"
        )


def _numbers(tensor: Any, data: bytes) -> Tensor:
    kind = np.dtype(DATATYPES[tensor.datatype])
    wanted = math.prod(tensor.shape) * kind.itemsize
    if len(data) != wanted:
        raise InputError(
            f"input {tensor.name!r} has {len(data)} bytes, {tensor.datatype} of shape"
            f" {list(tensor.shape)} needs {wanted}"
        )
    return np.frombuffer(data, kind)


def _typed(tensor: Any) -> Tensor:
    field = TYPED_FIELDS[tensor.datatype]
    others = [other.name for other, _ in tensor.contents.ListFields() if other.name != field]
    if others:
        raise InputError(
            f"input {tensor.name!r} is {tensor.datatype} and has {', '.join(others)}",
            hint=f"put its values into {field}",
        )
    values = getattr(tensor.contents, field)
    if tensor.datatype == BYTES:
        return _objects(list(values))
    try:
        return np.array(values, DATATYPES[tensor.datatype])
    except (ValueError, OverflowError) as exc:
        raise InputError(f"input {tensor.name!r}: {exc}") from exc


def _strings(name: str, data: bytes) -> Tensor:
    found: list[bytes] = []
    at = 0
    while at < len(data):
        begin = at + LENGTH.size
        end = begin + (LENGTH.unpack_from(data, at)[0] if begin <= len(data) else 0)
        if end < begin or end > len(data) or begin > len(data):
            raise InputError(
                f"input {name!r} ends inside its string {len(found)}",
                hint="raw strings have their length before them: 4 bytes, little-endian",
            )
        found.append(data[begin:end])
        at = end
    return _objects(found)


def _objects(values: list[bytes]) -> Tensor:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def infer_response(
    request: Any,
    model: str,
    version: str,
    outputs: Mapping[str, Tensor],
    labels: tuple[str, ...] = (),
    shared: SharedTensors = NOT_SHARED,
) -> Any:
    """Raw contents when the request came raw or a type has no other, typed ones otherwise.

    What is asked for in shared memory goes there, and its raw contents are empty.
    """
    response = message("ModelInferResponse")(model_name=model, model_version=version, id=request.id)
    chosen = _asked(request, outputs, labels)
    kinds = {name: datatype(tensor.dtype.str) for name, tensor in chosen.items()}
    # The protocol wants all of a response's tensors in one of the two places.
    raw = (
        bool(request.raw_input_contents)
        or any(map(in_shared_memory, request.inputs))
        or not set(kinds.values()) <= set(TYPED_FIELDS)
    )
    elsewhere = {one.name: one for one in request.outputs if in_shared_memory(one)}
    for name, values in chosen.items():
        tensor = response.outputs.add(name=name, datatype=kinds[name], shape=values.shape)
        if name in elsewhere:
            shared.write(elsewhere[name], _raw(values, kinds[name]), tensor)
            if raw:
                response.raw_output_contents.append(b"")
        elif raw:
            response.raw_output_contents.append(_raw(values, kinds[name]))
        else:
            getattr(tensor.contents, TYPED_FIELDS[kinds[name]]).extend(values.ravel().tolist())
    return response


def _asked(
    request: Any, outputs: Mapping[str, Tensor], labels: tuple[str, ...]
) -> dict[str, Tensor]:
    """The outputs that the request names, or all of them."""
    found = {}
    for entry in request.outputs:
        if entry.name not in outputs:
            raise InputError(
                f"no output {entry.name!r}", hint=f"the model gives {', '.join(outputs)}"
            )
        count = entry.parameters["classification"].int64_param if entry.parameters else 0
        values = outputs[entry.name]
        found[entry.name] = best_classes(values, count, labels) if count else values
    return found or dict(outputs)


def _raw(values: Tensor, kind: str) -> bytes:
    if kind != BYTES:
        if values.dtype.str == DATATYPES[kind]:
            return values.tobytes()
        return values.astype(DATATYPES[kind], copy=False).tobytes()
    return b"".join(LENGTH.pack(len(one)) + one for one in values.ravel())
