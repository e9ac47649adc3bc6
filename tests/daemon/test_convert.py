"""Requests of any client to values, and answers back, by the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgetran_daemon import convert
from edgetran_daemon.records import MeasureSpec, Subject
from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_protos.errors import InputError
from edgetran_protos.generated.edgetran.v1 import measurement_pb2, text_pb2
from edgetran_protos.open_inference import message
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

tensors = st.sampled_from(sorted(convert.DATATYPES.values())).flatmap(
    lambda code: arrays.arrays(code, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


def infer_request(values: Tensor, raw: bool, name: str = "x") -> Any:
    request = message("ModelInferRequest")()
    kind = convert.datatype(values.dtype.name)
    tensor = request.inputs.add(name=name, datatype=kind, shape=values.shape)
    if raw:
        request.raw_input_contents.append(values.tobytes())
    else:
        field = getattr(tensor.contents, convert.TYPED_FIELDS[kind])
        field.extend(values.ravel().tolist())
    return request


@given(tensors)
def test_raw_tensors_arrive_bit_by_bit(values: Tensor) -> None:
    found = convert.infer_inputs(infer_request(values, raw=True))["x"]
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert found.tobytes() == values.tobytes()


@given(tensors.filter(lambda values: values.dtype != np.float16))
def test_typed_tensors_arrive_too(values: Tensor) -> None:
    found = convert.infer_inputs(infer_request(values, raw=False))["x"]
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
        convert.infer_inputs(request_)


def test_strings_are_sent_to_the_text_service() -> None:
    with pytest.raises(InputError) as caught:
        convert.infer_inputs(_typed("BYTES", "bytes_contents", [b"hello"], [1]))
    assert "TextService" in caught.value.hint


OUTPUTS = {"logits": np.array([[0.5, -1]], np.float32), "count": np.array([7], np.int64)}


def test_an_answer_comes_the_way_the_request_did() -> None:
    raw = infer_request(np.zeros(1, np.int64), raw=True)
    found = convert.infer_response(raw, "m", "1", OUTPUTS)
    assert [out.name for out in found.outputs] == ["logits", "count"]
    assert list(found.raw_output_contents) == [v.tobytes() for v in OUTPUTS.values()]
    typed = infer_request(np.zeros(1, np.int64), raw=False)
    found = convert.infer_response(typed, "m", "1", OUTPUTS)
    assert not found.raw_output_contents
    assert list(found.outputs[0].contents.fp32_contents) == [0.5, -1]
    assert list(found.outputs[1].contents.int64_contents) == [7]


def test_a_type_without_typed_contents_makes_all_of_them_raw() -> None:
    outputs = {**OUTPUTS, "half": np.array([1.5], np.float16)}
    found = convert.infer_response(infer_request(np.zeros(1), raw=False), "m", "1", outputs)
    assert list(found.raw_output_contents) == [value.tobytes() for value in outputs.values()]
    assert not any(out.HasField("contents") for out in found.outputs)


def test_a_client_may_ask_for_some_outputs() -> None:
    request = infer_request(np.zeros(1), raw=True)
    request.outputs.add(name="count")
    found = convert.infer_response(request, "m", "1", OUTPUTS)
    assert [out.name for out in found.outputs] == ["count"]
    request.outputs.add(name="absent")
    with pytest.raises(InputError, match="absent") as caught:
        convert.infer_response(request, "m", "1", OUTPUTS)
    assert "logits" in caught.value.hint


def test_a_free_dimension_is_minus_one() -> None:
    response = message("ModelMetadataResponse")()
    convert.tensor_metadata(response.inputs, [TensorSpec("x", "int64", (None, 8))])
    (entry,) = response.inputs
    assert (entry.name, entry.datatype, list(entry.shape)) == ("x", "INT64", [-1, 8])


def test_zeros_of_a_measurement_take_the_defaults() -> None:
    subject = measurement_pb2.Subject(bundle_digest="sha256:0", variant="v")
    found = convert.measure_spec(measurement_pb2.MeasureRequest(subjects=[subject]), threads=3)
    assert found == MeasureSpec((Subject("sha256:0", "v"),), threads=3)
    asked = measurement_pb2.MeasureRequest(
        warmup_runs=1, runs=2, blocks=3, threads=4, batch_size=5, min_block_s=0.5
    )
    assert convert.measure_spec(asked, threads=9) == MeasureSpec((), 4, 1, 2, 3, 5, 0.5)


def test_a_pair_with_an_empty_second_text_is_still_a_pair() -> None:
    inputs = [text_pb2.TextInput(text="a"), text_pb2.TextInput(text="a", text_pair="")]
    assert convert.texts(text_pb2.PredictRequest(inputs=inputs)) == [("a",), ("a", "")]
