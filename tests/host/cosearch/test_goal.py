"""The goal against its formula, and fronts against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edgetran_host.cosearch.front import dominates, front, hypervolume, objectives
from edgetran_host.cosearch.goal import Goal, Limits, Weights, costs
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Place
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

NANO, PI = Place("jetson-nano:cpu"), Place("rpi4:cpu")
REFERENCES = {
    NANO: Outcome(0.8, 2.0, 10.0, 5.0, 4e8),
    PI: Outcome(0.8, 8.0, None, None, 4e8),
}
GOAL = Goal(REFERENCES, 0.04, Weights(size_bytes=0.3), Limits(latency_s=1.0, size_bytes=2e8))
GRID = st.integers(0, 4).map(float)


def test_value_follows_the_formula() -> None:
    found = GOAL.value(NANO, Outcome(0.78, 1.0, 20.0, 4.0, 1e8))
    foretold = 0.5 * (0.78 - 0.8) / 0.04
    foretold -= 0.2 * math.log(1 / 2) + 0.2 * math.log(20 / 10)
    foretold -= 0.1 * math.log(4 / 5) + 0.3 * math.log(1e8 / 4e8)
    assert found == pytest.approx(foretold)
    assert all(GOAL.value(place, one) == 0 for place, one in REFERENCES.items())


def test_an_unknown_cost_is_left_out() -> None:
    known = Outcome(0.8, 4.0, 9.0, 9.0, 4e8)
    assert GOAL.value(PI, known) == pytest.approx(-0.2 * math.log(1 / 2))
    unknown = Outcome(0.8, 1.0, None, None, 4e8)
    assert GOAL.value(NANO, unknown) == pytest.approx(-0.2 * math.log(1 / 2))


def test_arrays_give_what_single_outcomes_give() -> None:
    outcomes = [Outcome(0.7, 1.0, 3.0, 4.0, 1e8), Outcome(0.9, 9.0, None, None, 5e8)]
    scores = np.array([one.score for one in outcomes])
    stacked = GOAL.values([NANO, PI], np.tile(scores, (3, 1)), np.tile(costs(outcomes), (3, 1, 1)))
    single = [GOAL.value(place, one) for place, one in zip([NANO, PI], outcomes, strict=True)]
    assert stacked.shape == (3, 2)
    assert stacked == pytest.approx(np.tile(single, (3, 1)))


def test_limits() -> None:
    slow = Outcome(0.8, 2.0, None, None, 1e8)
    assert GOAL.excess(costs([slow])).tolist() == [[math.log(2), 0, 0, math.log(0.5)]]
    assert not GOAL.keeps(slow)
    assert GOAL.keeps(Outcome(0.8, 1.0, 99.0, 99.0, 2e8))
    assert Goal(REFERENCES, 0.04).keeps(slow)


def test_a_board_without_reference() -> None:
    with pytest.raises(UsageError, match="no reference for m1:gpu"):
        GOAL.value(Place("m1:gpu"), REFERENCES[NANO])


def test_objectives_fall_where_an_outcome_is_better() -> None:
    better = objectives(Outcome(0.9, 1.0, 9.0, 4.0, 1.0))
    assert dominates(better, objectives(Outcome(0.8, 2.0, 10.0, 5.0, 1.0)))
    assert np.isnan(objectives(REFERENCES[PI])[2:]).all()


@settings(max_examples=60)
@given(arrays(float, st.tuples(st.integers(0, 8), st.just(4)), elements=GRID))
def test_fronts_by_brute_force(points: np.ndarray) -> None:
    beaten = [any(dominates(other, one) for other in points) for one in points]
    assert front(points).tolist() == [at for at, is_beaten in enumerate(beaten) if not is_beaten]


@settings(max_examples=40)
@given(arrays(float, st.tuples(st.integers(0, 6), st.just(4)), elements=GRID))
def test_hypervolume_by_counting_cells(points: np.ndarray) -> None:
    """Whole numbers 0 to 4 below 4: as many unit cells as a point reaches."""
    cells = np.stack(np.meshgrid(*[np.arange(4.0)] * 4), axis=-1).reshape(-1, 4)
    covered = np.zeros(len(cells), dtype=bool)
    for point in points:
        covered |= (cells >= point).all(axis=1)
    assert hypervolume(points, np.full(4, 4.0)) == pytest.approx(covered.sum())
