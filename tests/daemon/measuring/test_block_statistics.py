"""Percentiles against a slow version, intervals against simulation, verdicts against a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from edgetran_daemon.measuring.block_statistics import (
    coefficient_of_variation,
    judge,
    mean,
    quantiles,
)
from edgetran_daemon.measuring.records import INVALID, SUSPECT, VALID
from edgetran_daemon.runtimes.base import Tensor
from hypothesis import given, settings
from hypothesis import strategies as st

times = st.floats(1e-6, 10.0)
some_blocks = st.lists(st.lists(times, min_size=1, max_size=30), min_size=1, max_size=4)


def arrays(blocks: Sequence[Sequence[float]]) -> list[Tensor]:
    return [np.array(block, np.float64) for block in blocks]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the neighbours, by the book."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below, share = math.floor(place), place - math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] * (1 - share) + ordered[above] * share


@settings(max_examples=15)
@given(some_blocks)
def test_quantiles_are_those_of_all_runs_within_their_intervals(blocks: list[list[float]]) -> None:
    everything = [value for block in blocks for value in block]
    found = quantiles(arrays(blocks))
    for quantity, percent in zip(found, (50, 95, 99)):
        assert quantity.value == pytest.approx(percentile(everything, percent))
        assert quantity.low is not None
        assert quantity.high is not None
        assert min(everything) <= quantity.low <= quantity.value <= quantity.high
        assert quantity.high <= max(everything)
    assert quantiles(arrays(blocks)) == found, "the same samples give the same record"


def test_the_interval_of_the_median_covers_the_truth() -> None:
    """Of 60 measurements with known median 1, nearly all intervals hold it."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        p50, _, _ = quantiles([rng.lognormal(0.0, 0.2, 60) for _ in range(5)])
        assert p50.low is not None
        assert p50.high is not None
        held += p50.low <= 1.0 <= p50.high
    assert held >= 50  # 57 expected at 95 %; fewer than 50 has odds below 1 in 10 000


def test_neighbours_that_resemble_each_other_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, (5, 400))
    slow = np.array([np.convolve(row, np.ones(40) / 40, "same") for row in noise])
    slow = slow / slow.std() * noise.std()
    shuffled = rng.permuted(slow, axis=1)

    def width(rows: Tensor) -> float:
        p50, _, _ = quantiles(list(10 + rows))
        assert p50.low is not None
        assert p50.high is not None
        return p50.high - p50.low

    assert width(slow) > 1.5 * width(shuffled)


def test_blocks_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    alike = [rng.normal(1, 0.01, 100) for _ in range(5)]
    apart = [block * factor for block, factor in zip(alike, (1.0, 1.1, 1.2, 1.3, 1.4))]
    narrow, wide = quantiles(alike)[0], quantiles(apart)[0]
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low)


@given(st.lists(st.floats(0.0, 1e3), min_size=2, max_size=8))
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    found = mean(values)
    assert found.value == pytest.approx(sum(values) / len(values))
    assert found.low is not None
    assert found.high is not None
    assert min(values) * (1 - 1e-9) <= found.low <= found.value <= found.high
    assert found.high <= max(values) * (1 + 1e-9)


def test_one_block_has_no_interval() -> None:
    assert (mean([3.0]).value, mean([3.0]).low, mean([3.0]).high) == (3.0, None, None)


def test_variation_is_the_spread_over_the_mean() -> None:
    blocks = arrays([[1.0, 2.0], [3.0]])
    assert coefficient_of_variation(blocks) == pytest.approx(math.sqrt(2 / 3) / 2)


STEADY = [1.0] * 20


@pytest.mark.parametrize(
    ("blocks", "disturbances", "verdict", "reasons"),
    [
        ([STEADY, STEADY], [], VALID, ()),
        ([STEADY[:9]], [], INVALID, ("too_few_samples",)),
        ([STEADY[:10]], [], SUSPECT, ("few_samples",)),
        ([STEADY, STEADY[:9]], [], SUSPECT, ("few_samples",)),
        ([STEADY, STEADY[:10]], [], VALID, ()),
        ([[1.0, 1.3] * 10] * 2, [], SUSPECT, ("latency_cv_above_0.10",)),
        ([[1.0] * 19 + [40.0]] * 2, [], INVALID, ("latency_cv_above_1.00",)),
        ([STEADY, [1.05] * 20, [1.11] * 20], [], SUSPECT, ("drift",)),
        ([STEADY, [1.09] * 20], [], VALID, ()),
        ([STEADY, STEADY], ["noise"], SUSPECT, ("noise",)),
        ([STEADY[:5]], ["noise"], INVALID, ("too_few_samples", "noise")),
    ],
)
def test_verdicts(
    blocks: list[list[float]], disturbances: list[str], verdict: str, reasons: tuple[str, ...]
) -> None:
    assert judge(arrays(blocks), disturbances) == (verdict, reasons)


@given(some_blocks, st.lists(st.sampled_from(["a", "b"]), unique=True))
def test_a_verdict_is_valid_exactly_when_nothing_speaks_against_it(
    blocks: list[list[float]], disturbances: list[str]
) -> None:
    verdict, reasons = judge(arrays(blocks), disturbances)
    assert (verdict == VALID) == (reasons == ())
    assert set(disturbances) <= set(reasons)
