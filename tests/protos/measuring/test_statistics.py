"""Percentiles, batch means, levels and warm-up: properties, and slow versions by the book."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from edgetran_protos.measuring.batch_means import (
    FEWEST_BATCHES,
    batch_mean,
    correlation,
    mean_of,
    narrow_enough,
    t_975,
)
from edgetran_protos.measuring.levels import creep, moved, tau
from edgetran_protos.measuring.percentiles import Floats, bound, quantiles, runs_needed
from edgetran_protos.measuring.quantity import Quantity
from edgetran_protos.measuring.steadiness import best_cuts, steady_from
from hypothesis import given, settings
from hypothesis import strategies as st

PERCENTS = (50.0, 95.0, 99.0)
times = st.floats(1e-6, 10.0)
some_blocks = st.lists(st.lists(times, min_size=1, max_size=30), min_size=1, max_size=4)


def arrays(blocks: Sequence[Sequence[float]]) -> list[Floats]:
    return [np.array(block, np.float64) for block in blocks]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the neighbours, by the book."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below, share = math.floor(place), place - math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] * (1 - share) + ordered[above] * share


# --- percentiles ---


@settings(max_examples=15)
@given(some_blocks)
def test_quantiles_are_those_of_all_runs_within_their_intervals(blocks: list[list[float]]) -> None:
    everything = [value for block in blocks for value in block]
    found = quantiles(arrays(blocks), PERCENTS)
    for quantity, percent in zip(found, PERCENTS):
        assert quantity.value == pytest.approx(percentile(everything, percent))
        assert quantity.low is not None
        assert quantity.high is not None
        assert min(everything) <= quantity.low <= quantity.value <= quantity.high
        assert quantity.high <= max(everything)
    assert quantiles(arrays(blocks), PERCENTS) == found, "the same samples give the same record"


def test_the_interval_of_the_median_covers_the_truth() -> None:
    """Of 60 measurements with known median 1, nearly all intervals hold it."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        (p50,) = quantiles([rng.lognormal(0.0, 0.2, 60) for _ in range(5)], (50,))
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

    def width(rows: Floats) -> float:
        return quantiles(list(10 + rows), (50,))[0].half_width

    assert width(slow) > 1.5 * width(shuffled)


def test_blocks_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    alike = [rng.normal(1, 0.01, 100) for _ in range(5)]
    apart = [block * factor for block, factor in zip(alike, (1.0, 1.1, 1.2, 1.3, 1.4))]
    narrow, wide = (quantiles(blocks, (50,))[0].half_width for blocks in (alike, apart))
    assert wide > 10 * narrow


def exceeded(n: int, p: Fraction, t: int) -> Fraction:
    """P(Binomial(n, 1 - p) <= t), exactly."""
    return sum((math.comb(n, k) * (1 - p) ** k * p ** (n - k) for k in range(t + 1)), Fraction(0))


@settings(max_examples=25)
@given(st.lists(times, min_size=1, max_size=150), st.sampled_from([50, 90, 95]))
def test_the_bound_is_loadgens_by_exact_arithmetic(values: list[float], percent: int) -> None:
    n, p = len(values), Fraction(percent, 100)
    fitting = [t for t in range(1, n) if exceeded(n, p, t) < Fraction(1, 100)]
    wanted = sorted(values)[n - max(fitting)] if fitting else None
    assert bound(np.array(values), percent) == wanted


@pytest.mark.parametrize(("percent", "runs"), [(90, 64), (95, 130), (99, 662)])
def test_runs_that_a_percentile_needs(percent: int, runs: int) -> None:
    """LoadGen's documentation names 64 for 90 % and 662 for 99 %."""
    assert runs_needed(percent) == runs
    assert bound(np.ones(runs - 1), percent) is None
    assert bound(np.ones(runs), percent) == 1.0


def test_the_bound_is_exceeded_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(4)
    truth = 0.9
    found = [bound(rng.random(200), 90) for _ in range(1000)]
    below = sum(1 for value in found if value is not None and value < truth)
    assert below <= 22  # 10 expected at most; more than 22 has odds below 1 in 1 000


# --- batch means ---


def test_batch_means_cover_the_mean_of_runs_that_resemble_each_other() -> None:
    """Where an interval of single runs does not."""
    rng = np.random.default_rng(5)
    held, naive = 0, 0
    for _ in range(100):
        noise = rng.normal(0, 1, 4000)
        for at in range(1, len(noise)):
            noise[at] += 0.9 * noise[at - 1]
        runs = 100 + noise
        mean = batch_mean(runs).mean
        assert mean.low is not None
        assert mean.high is not None
        held += mean.low <= 100 <= mean.high
        half = 1.96 * runs.std() / math.sqrt(len(runs))
        naive += abs(runs.mean() - 100) <= half
    assert held >= 86  # 95 expected; fewer than 86 has odds below 1 in 1 000
    assert naive < 60


def test_batches_grow_until_neighbours_are_strangers() -> None:
    rng = np.random.default_rng(6)
    alike = batch_mean(rng.normal(1, 0.01, 4000))
    assert alike.independent
    assert alike.batches == 40
    wandering = batch_mean(np.linspace(1, 1.1, 4000) + rng.normal(0, 0.01, 4000))
    assert not wandering.independent
    assert wandering.batches == FEWEST_BATCHES


@given(st.lists(st.floats(0.0, 1e3), min_size=2, max_size=8))
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    found = mean_of(values)
    assert found.value == pytest.approx(sum(values) / len(values))
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


def test_one_value_has_no_interval() -> None:
    assert mean_of([3.0]) == Quantity(3.0, None, None)
    assert not narrow_enough(Quantity(3.0), 0.5)


def test_measuring_may_stop_when_the_interval_is_narrow_enough() -> None:
    assert narrow_enough(Quantity(10.0, 9.9, 10.1), 0.01 + 1e-9)
    assert not narrow_enough(Quantity(10.0, 9.8, 10.1), 0.01)


def test_students_quantile_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for df in (*range(1, 40), 100, 1000):
        assert t_975(df) == pytest.approx(stats.t.ppf(0.975, df), abs=2e-3)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=20))
def test_correlation_of_neighbours_by_the_book(values: list[float]) -> None:
    mean = sum(values) / len(values)
    spread = sum((x - mean) ** 2 for x in values)
    found = correlation(np.array(values))
    if spread > 1e-6:
        wanted = sum((a - mean) * (b - mean) for a, b in zip(values, values[1:])) / spread
        assert found == pytest.approx(wanted, abs=1e-6)
    assert -1.0001 <= found <= 1.0001


# --- levels ---


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        ([1.0] * 6, False),
        ([1.0], False),
        ([1.0, 1.09], False),
        ([1.0, 1.11], True),
        ([1.0, 1.0, 1.12, 1.0, 1.0], True),
        ([1.0, 1.01, 1.02, 1.03, 1.04], True),
        ([1.0, 0.99, 0.98, 0.97, 0.96], True),
        ([1.0, 1.004, 1.008, 1.012, 1.016], False),
        ([1.0, 1.04, 1.0, 1.04, 1.0], False),
    ],
)
def test_a_level_moves_far_or_creeps_one_way(levels: list[float], wanted: bool) -> None:
    assert moved(levels) is wanted


@given(st.lists(st.floats(1, 2), min_size=4, max_size=9))
def test_whether_a_level_moved_depends_neither_on_its_unit_nor_direction(
    levels: list[float],
) -> None:
    assert tau(levels) == -tau(levels[::-1])
    assert creep([3 * level for level in levels]) == pytest.approx(creep(levels), abs=1e-9)
    assert moved(levels[::-1]) == moved(levels)


# --- warm-up ---


def cost_of(x: Sequence[float], cuts: Sequence[int], penalty: float) -> float:
    bounds = [0, *cuts, len(x)]
    parts = [x[a:b] for a, b in zip(bounds, bounds[1:])]
    return sum(sum((v - sum(p) / len(p)) ** 2 for v in p) for p in parts) + penalty * len(cuts)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9), st.floats(0.01, 5))
def test_the_best_cut_is_the_best_of_all(x: list[float], penalty: float) -> None:
    places = range(1, len(x))
    every = [c for size in range(len(x)) for c in combinations(places, size)]
    best = min(cost_of(x, cuts, penalty) for cuts in every)
    assert cost_of(x, best_cuts(np.array(x), penalty), penalty) == pytest.approx(best, abs=1e-9)


def noisy(levels: Sequence[tuple[float, int]], seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return np.concatenate([level * rng.normal(1, 0.01, count) for level, count in levels])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("levels", "least", "most"),
    [
        ([(1.0, 300)], 0, 0),
        ([(2.0, 60), (1.0, 240)], 55, 75),
        ([(3.0, 6), (1.0, 294)], 6, 20),
        ([(1.0, 100), (1.1, 200)], 90, 115),
    ],
)
def test_warm_up_ends_at_the_last_change(
    levels: list[tuple[float, int]], least: int, most: int, seed: int
) -> None:
    found = steady_from(noisy(levels, seed))
    assert found is not None
    assert least <= found <= most


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "levels",
    [
        [(2.0, 200), (1.0, 100)],  # fast too late
        [(1.0, 250), (1.3, 50)],  # slow again
        [(2.0 - at / 30, 10) for at in range(30)],  # still going down
    ],
)
def test_warm_up_goes_on_while_times_change(levels: list[tuple[float, int]], seed: int) -> None:
    assert steady_from(noisy(levels, seed)) is None


def test_one_hiccup_is_no_change() -> None:
    runs = noisy([(1.0, 300)], 9)
    runs[150] = 20.0
    assert steady_from(runs) == 0


def test_the_unit_of_time_does_not_matter() -> None:
    runs = noisy([(2.0, 60), (1.0, 240)], 7)
    assert steady_from(runs) == steady_from(runs * 1e-3)


def test_without_times_nothing_is_steady() -> None:
    assert steady_from(np.zeros(0)) is None
    assert steady_from(np.array([1.0, 0.0])) is None
