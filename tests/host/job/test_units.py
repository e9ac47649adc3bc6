"""Quantities as people write them."""

import pytest
from edgetran_host.job.units import parse
from edgetran_protos.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("latency", "40ms", 0.040),
        ("latency", "1.5 s", 1.5),
        ("energy", "300mJ", 0.300),
        ("size", "20MB", 20e6),
        ("size", "1MiB", 2**20),
        ("size", "2 GiB", 2**31),
        ("latency", "40\u00b5s", 40e-6),  # the micro sign
        ("latency", "40\u03bcs", 40e-6),  # the Greek letter
        ("power", "5W", 5.0),
        ("time", "90s", 90.0),
        ("time", "30m", 1800.0),
        ("time", "30min", 1800.0),
        ("time", "2h", 7200.0),
    ],
)
def test_reads_units(kind: str, text: str, value: float) -> None:
    assert parse(kind, text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["40", "ms", "40 mJ", "-3ms", "0ms", "1.2.3ms", "", "nan ms", "1e999s"]
)
def test_refuses_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("latency", text)
    assert "40ms" in caught.value.hint
