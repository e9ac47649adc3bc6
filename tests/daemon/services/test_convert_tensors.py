"""Requests of any client to arrays, and answers back, by the Open Inference Protocol."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.services import convert_models, convert_tensors
from edgetran_daemon.services.shared_tensors import SharedTensors
from edgetran_daemon.serving.shared_memory import Regions
from edgetran_protos.errors import InputError, NotOffered
from edgetran_protos.open_inference import message
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

tensors = st.sampled_from(sorted(convert_tensors.DATATYPES.values())).flatmap(
    lambda code: arrays.arrays(code, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


def infer_request(values: Tensor, raw: bool, name: str = "x") -> Any:
    request = message("ModelInferRequest")()
    kind = convert_tensors.datatype(values.dtype.name)
    tensor = request.inputs.add(name=name, datatype=kind, shape=values.shape)
    if raw:
        request.raw_input_contents.append(values.tobytes())
    else:
        field = getattr(tensor.contents, convert_tensors.TYPED_FIELDS[kind])
        field.extend(values.ravel().tolist())
    return request


@given(tensors)
def test_raw_tensors_arrive_bit_by_bit(values: Tensor) -> None:
    found = convert_tensors.infer_inputs(infer_request(values, raw=True))["x"]
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert found.tobytes() == values.tobytes()


@given(tensors.filter(lambda values: values.dtype != np.float16))
def test_typed_tensors_arrive_too(values: Tensor) -> None:
    found = convert_tensors.infer_inputs(infer_request(values, raw=False))["x"]
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(found, values)


def spoilt(**changes: Any) -> Any:
    request = infer_request(np.zeros((2, 3), np.int64), raw=True)
    for name, value in changes.items():
        setattr(request.inputs[0], name, value)
    return request


def _shape(size: int) -> Any:
    request = infer_request(np.zeros((2, 3), np.int64), raw=True)
    request.inputs[0].shape[0] = size
    return request


def _dimensions(count: int, size: int) -> Any:
    request = infer_request(np.zeros(1, np.int64), raw=True)
    request.inputs[0].shape[:] = [size] * count
    return request


def _two_of_one_name() -> Any:
    request = infer_request(np.zeros(2, np.int64), raw=True)
    request.MergeFrom(request)
    return request


def _raw_missing() -> Any:
    request = infer_request(np.zeros(2, np.int64), raw=True)
    request.inputs.add(name="y", datatype="INT64", shape=[2])
    return request


def _typed(kind: str, field: str, values: list[Any], shape: list[int]) -> Any:
    request = message("ModelInferRequest")()
    tensor = request.inputs.add(name="x", datatype=kind, shape=shape)
    getattr(tensor.contents, field).extend(values)
    return request


@pytest.mark.parametrize(
    "request_",
    [
        spoilt(datatype="INT32"),
        spoilt(datatype="BYTES"),
        spoilt(datatype=""),
        spoilt(datatype="int64"),
        _shape(3),
        _shape(-2),
        _shape(1 << 62),
        _dimensions(70, 1),
        _dimensions(300, 1 << 62),
        _dimensions(1_000_000, 1 << 62),
        _two_of_one_name(),
        _raw_missing(),
        _typed("INT64", "int64_contents", [1, 2], [3]),
        _typed("INT64", "fp32_contents", [1, 2], [2]),
        _typed("INT8", "int_contents", [300], [1]),
        _typed("FP16", "fp32_contents", [1.0], [1]),
    ],
)
def test_what_does_not_fit_is_the_callers_mistake(request_: Any) -> None:
    with pytest.raises(InputError):
        convert_tensors.infer_inputs(request_)


strings = st.lists(st.binary(max_size=9), max_size=5)


@given(strings)
def test_strings_arrive_raw_and_typed(values: list[bytes]) -> None:
    raw = message("ModelInferRequest")()
    raw.inputs.add(name="x", datatype="BYTES", shape=[len(values)])
    raw.raw_input_contents.append(packed(values))
    for request in (raw, _typed("BYTES", "bytes_contents", values, [len(values)])):
        found = convert_tensors.infer_inputs(request)["x"]
        assert found.dtype == np.dtype(object)
        assert found.tolist() == values


@given(strings, st.integers(0, 60))
def test_strings_that_were_cut_are_refused(values: list[bytes], at: int) -> None:
    """A cut at the end of a string leaves a sound but shorter list: then the shape is wrong."""
    data = packed(values)
    request = message("ModelInferRequest")()
    request.inputs.add(name="x", datatype="BYTES", shape=[len(values)])
    request.raw_input_contents.append(data[:at])
    if at < len(data):
        with pytest.raises(InputError):
            convert_tensors.infer_inputs(request)
    else:
        assert len(convert_tensors.infer_inputs(request)["x"]) == len(values)


def packed(values: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in values)


def test_strings_go_back_as_they_came() -> None:
    outputs = {"LABEL": np.array([[b"on"], [b"off"]], object)}
    raw = convert_tensors.infer_response(infer_request(np.zeros(1), raw=True), "m", "1", outputs)
    assert raw.outputs[0].datatype == "BYTES"
    assert list(raw.raw_output_contents) == [packed([b"on", b"off"])]
    typed = convert_tensors.infer_response(infer_request(np.zeros(1), raw=False), "m", "1", outputs)
    assert list(typed.outputs[0].contents.bytes_contents) == [b"on", b"off"]
    assert list(typed.outputs[0].shape) == [2, 1]


def _both() -> Any:
    request = infer_request(np.zeros(2, np.int64), raw=True)
    request.inputs[0].contents.int64_contents.extend([0, 0])
    return request


def _shared_memory(contents: bool = False, **parameters: Any) -> Any:
    request = infer_request(np.zeros(2, np.int64), raw=False)
    if not contents:
        request.inputs[0].ClearField("contents")
    for name, value in {"region": "mine", "byte_size": 16, **parameters}.items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        setattr(request.inputs[0].parameters[f"shared_memory_{name}"], kind, value)
    return request


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (_both(), "typed contents beside raw"),
        (_shared_memory(contents=True), "contents beside those in shared memory"),
        (_shared_memory(region=""), "where"),
        (_shared_memory(region=3), "where"),
        (_shared_memory(byte_size=0), "where"),
        (_shared_memory(byte_size="16"), "where"),
        (_shared_memory(byte_size=-1), "where"),
        (_shared_memory(offset=-8), "where"),
        (_typed("INT64", "fp32_contents", [1, 2], [2]), "fp32_contents"),
        (_typed("INT64", "int64_contents", [1, 2], [3]), "2 elements.*needs 3"),
        (_typed("INT64", "int64_contents", [], [0, 1 << 62, 1 << 62]), "x"),
        (spoilt(datatype="INT32"), "48 bytes.*needs 24"),
        (_shape(-2), r"has shape \[-2, 3\]$"),
    ],
)
def test_refusals_say_what_is_wrong(request_: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        convert_tensors.infer_inputs(request_)


def test_classes_instead_of_numbers_when_asked_for() -> None:
    outputs = {"logits": np.array([[0.5, -1, 2], [3, 2, 1]], np.float32)}
    request = infer_request(np.zeros(1), raw=False)
    request.outputs.add(name="logits").parameters["classification"].int64_param = 2
    found = convert_tensors.infer_response(request, "m", "1", outputs, ("a", "b", "c"))
    (output,) = found.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [2, 2])
    assert list(output.contents.bytes_contents) == [
        b"2.000000:2:c",
        b"0.500000:0:a",
        b"3.000000:0:a",
        b"2.000000:1:b",
    ]
    unnamed = convert_tensors.infer_response(request, "m", "1", outputs)
    assert unnamed.outputs[0].contents.bytes_contents[0] == b"2.000000:2"
    with pytest.raises(InputError):
        convert_tensors.infer_response(request, "m", "1", {"logits": np.zeros(3)})


def test_shared_memory_is_refused_where_it_is_not_offered() -> None:
    with pytest.raises(NotOffered) as caught:
        convert_tensors.infer_inputs(_shared_memory())
    assert "--shared-memory" in caught.value.hint
    request = infer_request(np.zeros(1), raw=True)
    request.outputs.add(name="count").parameters["shared_memory_region"].string_param = "mine"
    request.outputs[0].parameters["shared_memory_byte_size"].int64_param = 8
    with pytest.raises(NotOffered):
        SharedTensors(Regions(), 100).expect(request.outputs)
    with pytest.raises(NotOffered):
        convert_tensors.infer_response(request, "m", "1", OUTPUTS)


OUTPUTS = {"logits": np.array([[0.5, -1]], np.float32), "count": np.array([7], np.int64)}


def test_an_answer_comes_the_way_the_request_did() -> None:
    raw = infer_request(np.zeros(1, np.int64), raw=True)
    found = convert_tensors.infer_response(raw, "m", "1", OUTPUTS)
    assert [out.name for out in found.outputs] == ["logits", "count"]
    assert list(found.raw_output_contents) == [v.tobytes() for v in OUTPUTS.values()]
    typed = infer_request(np.zeros(1, np.int64), raw=False)
    found = convert_tensors.infer_response(typed, "m", "1", OUTPUTS)
    assert not found.raw_output_contents
    assert list(found.outputs[0].contents.fp32_contents) == [0.5, -1]
    assert list(found.outputs[1].contents.int64_contents) == [7]


def test_a_type_without_typed_contents_makes_all_of_them_raw() -> None:
    outputs = {**OUTPUTS, "half": np.array([1.5], np.float16)}
    found = convert_tensors.infer_response(infer_request(np.zeros(1), raw=False), "m", "1", outputs)
    assert list(found.raw_output_contents) == [value.tobytes() for value in outputs.values()]
    assert not any(out.HasField("contents") for out in found.outputs)


def test_a_client_may_ask_for_some_outputs() -> None:
    request = infer_request(np.zeros(1), raw=True)
    request.outputs.add(name="count")
    found = convert_tensors.infer_response(request, "m", "1", OUTPUTS)
    assert [out.name for out in found.outputs] == ["count"]
    request.outputs.add(name="absent")
    with pytest.raises(InputError, match="absent") as caught:
        convert_tensors.infer_response(request, "m", "1", OUTPUTS)
    assert "logits" in caught.value.hint


def test_a_free_dimension_is_minus_one() -> None:
    response = message("ModelMetadataResponse")()
    convert_models.tensor_metadata(response.inputs, [TensorSpec("x", "int64", (None, 8))])
    (entry,) = response.inputs
    assert (entry.name, entry.datatype, list(entry.shape)) == ("x", "INT64", [-1, 8])


anything = st.builds(
    _typed,
    st.sampled_from([*convert_tensors.TYPED_FIELDS, "FP16", "", "TEXT"]),
    st.just("int64_contents"),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), max_size=3),
)


@given(anything, st.none() | st.lists(st.binary(max_size=16), max_size=2))
def test_whatever_comes_is_read_or_refused(request_: Any, raw: list[bytes] | None) -> None:
    """Nothing else: another exception would be the daemon's own fault."""
    if raw is not None:
        request_.inputs[0].ClearField("contents")
        request_.raw_input_contents.extend(raw)
    try:
        (found,) = convert_tensors.infer_inputs(request_).values()
    except InputError:
        return
    assert list(found.shape) == list(request_.inputs[0].shape)


def test_what_is_kept_of_a_tensor_does_not_hide_a_mistake_of_the_next() -> None:
    """The same description with other contents, and nearly the same description."""

    def asked(data: bytes, *shape: int, **more: Any) -> Any:
        request = message("ModelInferRequest")(raw_input_contents=[data])
        request.inputs.add(name="x", datatype="INT32", shape=shape, **more)
        return request

    for _ in range(2):
        for first in (1, 2):
            data = np.array([[first, 5, 6]], "<i4").tobytes()
            np.testing.assert_array_equal(
                convert_tensors.infer_inputs(asked(data, 1, 3))["x"], [[first, 5, 6]]
            )
        with pytest.raises(InputError, match="bytes"):
            convert_tensors.infer_inputs(asked(data[:-1], 1, 3))
        with pytest.raises(InputError, match="shape"):
            convert_tensors.infer_inputs(asked(data, -1, -3))
        with pytest.raises(InputError, match="typed contents"):
            convert_tensors.infer_inputs(asked(data, 1, 3, contents={"int_contents": [1, 2, 3]}))
        shared = asked(data, 1, 3)
        shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
        with pytest.raises(InputError, match="0 inputs came with 1 raw contents"):
            convert_tensors.infer_inputs(shared)
