"""A promised p99 against times that keep it and that break it, and the binomial tail behind it."""

from __future__ import annotations

import numpy as np
import pytest
from edgetran_daemon.deployment.conduct import KEPT_TIMES, Conduct
from edgetran_daemon.deployment.promise import PATIENCE, at_least, broken, too_many
from edgetran_daemon.deployment.watch import fault
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom


@given(st.integers(0, 1000), st.integers(0, 60), st.floats(0.001, 0.5))
def test_the_tail_is_the_binomials(count: int, seen: int, share: float) -> None:
    assert at_least(seen, count, share) == pytest.approx(binom.sf(seen - 1, count, share), abs=1e-9)


def test_times_that_keep_the_promise_are_hardly_ever_blamed() -> None:
    rng = np.random.default_rng(0)
    blamed = 0
    for _ in range(2000):
        times = rng.lognormal(np.log(0.01), 0.3, 200)
        p99_s = 0.01 * np.exp(2.326 * 0.3)  # of that very distribution
        blamed += bool(broken(PATIENCE * times, p99_s))
    assert blamed / 2000 < 0.01


def test_a_model_three_times_too_slow_is_found() -> None:
    times = np.random.default_rng(0).lognormal(np.log(0.03), 0.1, 50)
    assert "promised is a p99 of 10 ms" in broken(times, 0.01)


def test_nothing_seen_or_nothing_promised_breaks_nothing() -> None:
    assert broken([], 0.01) == broken([1.0] * 100, None) == ""


def test_one_failure_is_not_many_and_two_in_a_row_are() -> None:
    assert not too_many(0, 0)
    assert not too_many(1, 1)
    assert too_many(2, 2)
    assert not too_many(2, 200)
    assert too_many(20, 200)


def conduct(answers: int = 0, rows: int = 1, run_s: float = 0.001) -> Conduct:
    found = Conduct()
    for _ in range(answers):
        found.answer(rows, run_s)
    return found


def test_what_speaks_against_a_model() -> None:
    assert fault(conduct(100), 0.001) == ""
    late = conduct(100, run_s=0.01)
    assert "longer than 2 ms" in fault(late, 0.001)
    assert fault(late, None) == ""
    batches = conduct(100, rows=8, run_s=0.01)
    assert fault(batches, 0.001) == "", "a promise is about one row"
    dead = conduct(100)
    dead.die()
    assert "died" in fault(dead, None)
    failing = conduct(10)
    for _ in range(4):
        failing.fail()
    assert fault(failing, None) == "4 of 14 requests failed"


def test_a_long_life_keeps_its_latest_times_only() -> None:
    long = conduct(3 * KEPT_TIMES)
    assert (long.answered, len(long.single_row_s)) == (3 * KEPT_TIMES, KEPT_TIMES)
