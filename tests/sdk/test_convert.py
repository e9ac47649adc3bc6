"""Messages to values and back, with the input a user gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from edgetran import Board, EdgeTranError, InputError, convert
from edgetran_protos.generated.edgetran.v1 import device_pb2, measurement_pb2, text_pb2
from edgetran_protos.open_inference import message
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

CODES = sorted(convert.DATATYPES.values())


@given(
    st.sampled_from(CODES).flatmap(
        lambda code: arrays.arrays(code, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
    )
)
def test_tensors_survive_the_way_there_and_back(values: np.ndarray[Any, Any]) -> None:
    request = convert.infer_request("m", {"x": values})
    response = message("ModelInferResponse")(raw_output_contents=request.raw_input_contents)
    tensor = request.inputs[0]
    response.outputs.add(name="x", datatype=tensor.datatype, shape=tensor.shape)
    found = convert.infer_outputs(response)["x"]
    assert found.dtype == values.dtype
    assert found.shape == values.shape
    assert found.tobytes() == values.tobytes()


def test_foreign_byte_order_and_strides_are_set_right() -> None:
    values = np.arange(12, dtype=">i8").reshape(3, 4).T
    request = convert.infer_request("m", {"x": values})
    assert list(request.inputs[0].shape) == [4, 3]
    sent = np.frombuffer(request.raw_input_contents[0], "<i8").reshape(4, 3)
    assert (sent == values).all()


def test_typed_contents_are_read_too() -> None:
    response = message("ModelInferResponse")()
    out = response.outputs.add(name="logits", datatype="FP32", shape=[1, 2])
    out.contents.fp32_contents.extend([0.5, -0.5])
    assert convert.infer_outputs(response)["logits"].tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("values", [np.array([1j]), np.array(["2020"], "datetime64[s]")])
def test_types_the_protocol_lacks(values: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InputError, match="'x'"):
        convert.infer_request("m", {"x": values})


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [("FP32", [3], b"\0" * 8), ("BYTES", [1], b"x"), ("FP32", [1], b"\0" * 3)],
)
def test_malformed_outputs_are_named(datatype: str, shape: list[int], raw: bytes) -> None:
    response = message("ModelInferResponse")(raw_output_contents=[raw])
    response.outputs.add(name="logits", datatype=datatype, shape=shape)
    with pytest.raises(InputError, match="logits"):
        convert.infer_outputs(response)


words = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4)


@given(words)
def test_strings_survive_the_way_there_and_back(values: list[str]) -> None:
    request = convert.infer_request("m", {"x": np.array(values, object)})
    (tensor,) = request.inputs
    assert (tensor.datatype, list(tensor.shape)) == ("BYTES", [len(values)])
    response = message("ModelInferResponse")(raw_output_contents=request.raw_input_contents)
    response.outputs.add(name="x", datatype="BYTES", shape=tensor.shape)
    assert [one.decode() for one in convert.infer_outputs(response)["x"]] == values
    typed = message("ModelInferResponse")()
    output = typed.outputs.add(name="x", datatype="BYTES", shape=tensor.shape)
    output.contents.bytes_contents.extend(one.encode() for one in values)
    assert [one.decode() for one in convert.infer_outputs(typed)["x"]] == values


@pytest.mark.parametrize("values", [[object()], ["a", 1], ["\ud800"]])
def test_what_is_more_than_strings_is_refused(values: list[object]) -> None:
    with pytest.raises(InputError) as caught:
        convert.infer_request("m", {"x": np.array(values, object)})
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"\1", b"\1\0\0\0", b"\2\0\0\0a"])
def test_strings_that_end_early_are_named(data: bytes) -> None:
    response = message("ModelInferResponse")(raw_output_contents=[data])
    response.outputs.add(name="LABEL", datatype="BYTES", shape=[1])
    with pytest.raises(InputError, match="LABEL"):
        convert.infer_outputs(response)


def test_texts_and_pairs() -> None:
    request = convert.predict_request(["one", ("two", "three")], None)
    assert request.model == ""
    assert not request.inputs[0].HasField("text_pair")
    assert request.inputs[1].text_pair == "three"


@pytest.mark.parametrize(
    "texts", ["one string", [("a", "b", "c")], [1], [None], [("a", 1)], [b"x"]]
)
def test_texts_that_are_none(texts: Any) -> None:
    with pytest.raises(InputError) as caught:
        convert.predict_request(texts, None)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("texts", "model"), [(["\udcff"], None), ([("a", "\ud800")], None), (["a"], "\udcff")]
)
def test_what_is_not_utf_8_is_said(texts: Any, model: str | None) -> None:
    with pytest.raises(InputError) as caught:
        convert.predict_request(texts, model)
    assert "UTF-8" in caught.value.hint


@pytest.mark.parametrize(
    "ask",
    [
        lambda board: board.measure([("sha256:0", None)], threads=-1),
        lambda board: board.measure([("sha256:0", None)], runs=1 << 32),
        lambda board: board.measure([("\ud800", None)]),
        lambda board: board.lease(priority=1 << 40).__enter__(),
        lambda board: board.test_sensor(steps=-1),
        lambda board: board.release(-1),
        lambda board: board.rollback("\ud800"),
        lambda board: board.unload("\ud800"),
        lambda board: board.infer("\ud800", {"x": np.zeros(1)}),
        lambda board: board.infer("home", {"\ud800": np.zeros(1)}),
    ],
)
def test_what_no_message_can_hold_is_refused_before_it_is_sent(
    ask: Callable[[Board], object],
) -> None:
    with Board("127.0.0.1:1") as board, pytest.raises(EdgeTranError) as caught:
        ask(board)
    assert caught.value.hint


def test_what_the_board_does_not_know_is_none_not_zero() -> None:
    sample = convert.telemetry_sample(device_pb2.TelemetrySample(cpu_load=0.0))
    assert (sample.power_w, sample.cpu_load, sample.throttled) == (None, 0.0, None)
    record = convert.measurement(
        measurement_pb2.MeasureRecord(latency_p50_s=measurement_pb2.Quantity(value=0.0))
    )
    assert record.energy_j is None
    assert record.latency_p50_s is not None
    assert (record.latency_p50_s.value, record.latency_p50_s.low) == (0.0, None)
    assert convert.answer(text_pb2.PredictResponse()).modelled_infer_s is None
