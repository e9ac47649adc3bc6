"""Messages of edgetran.v1 to values."""

from __future__ import annotations

from edgetran_daemon.measuring.records import MeasureSpec, Subject
from edgetran_daemon.services import convert
from edgetran_protos.generated.edgetran.v1 import measurement_pb2, text_pb2


def test_zeros_of_a_measurement_take_the_defaults() -> None:
    subject = measurement_pb2.Subject(bundle_digest="sha256:0", variant="v")
    found = convert.measure_spec(measurement_pb2.MeasureRequest(subjects=[subject]), threads=3)
    assert found == MeasureSpec((Subject("sha256:0", "v"),), threads=3)
    asked = measurement_pb2.MeasureRequest(
        warmup_runs=1, runs=2, blocks=3, threads=4, batch_size=5, min_block_s=0.5
    )
    asked.MergeFrom(
        measurement_pb2.MeasureRequest(
            lease_token=6, warmup_limit_s=0.25, max_blocks=7, half_width=0.125, samples=True
        )
    )
    assert convert.measure_spec(asked, threads=9) == MeasureSpec(
        subjects=(),
        threads=4,
        warmup_runs=1,
        runs=2,
        blocks=3,
        batch_size=5,
        min_block_s=0.5,
        lease_token=6,
        warmup_limit_s=0.25,
        max_blocks=7,
        half_width=0.125,
        samples=True,
    )


def test_a_pair_with_an_empty_second_text_is_still_a_pair() -> None:
    inputs = [text_pb2.TextInput(text="a"), text_pb2.TextInput(text="a", text_pair="")]
    assert convert.texts(text_pb2.PredictRequest(inputs=inputs)) == [("a",), ("a", "")]
