"""Frames between the supervisor and a worker survive the way, whatever they carry."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from edgetran_daemon.worker import wire
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

codes = st.sampled_from(["|b1", "|i1", "<i4", "<i8", ">i8", "<u8", "<f2", "<f4", "<f8"])
some_tensors = st.dictionaries(
    st.text(max_size=8),
    codes.flatmap(
        lambda code: arrays.arrays(code, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    max_size=3,
)


def read(stream: io.BytesIO) -> tuple[wire.Header, dict[str, wire.Tensor], float]:
    length, seconds = wire.read_prefix(stream.read(wire.PREFIX.size))
    layout = wire.read_header(stream.read(length))
    return layout.header, wire.unpack_tensors(layout, stream.read(layout.size_bytes)), seconds


@given(some_tensors, st.dictionaries(st.text(min_size=1).filter("tensors".__ne__), st.integers()))
def test_a_frame_survives(tensors: dict[str, wire.Tensor], header: dict[str, Any]) -> None:
    pieces = [*wire.pack(header, tensors, 0.25), *wire.pack({"op": "next"}, {})]
    stream = io.BytesIO(b"".join(pieces))
    found_header, found, seconds = read(stream)
    assert seconds == 0.25
    assert {name: found_header[name] for name in header} == header
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].tobytes() == tensor.tobytes()
    assert read(stream)[0]["op"] == "next", "the frame ended where it should"


def test_tensors_with_strides_arrive_in_order() -> None:
    tensor = np.arange(12).reshape(3, 4).T[::-1]
    _, found, _ = read(io.BytesIO(b"".join(wire.pack({}, {"x": tensor}))))
    np.testing.assert_array_equal(found["x"], tensor)


def test_what_is_no_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="no frame"):
        wire.read_prefix(b"HTTP/1.1 400")
