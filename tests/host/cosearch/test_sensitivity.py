"""What looser limits buy: against worlds where it is known, and draws against their own parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgetran_host.cosearch.goal import COSTS, Goal, Limits, Weights, costs
from edgetran_host.cosearch.joint_draws import draw_together
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.outputs import OUTPUTS, SCORE, Describer, OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.sensitivity import (
    LEAST_DRAWS,
    Sensitivity,
    best_within,
    of_limit,
    pool,
    sensitivities,
    step_of,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.host.cosearch.toy_world import PLACES, PRODUCT, SPACE, outcome_of, toy_goal, try_pairs

SLOW = replace(PRODUCT, places=PLACES[:1])
TRIALS = try_pairs(SLOW.sample(np.random.default_rng(3), 24, tied=True))
DESCRIBER = Describer(SPACE, PLACES)


def goal_of(limits: Limits) -> Goal:
    """The score alone counts, so whatever a limit forbids is missed."""
    return replace(toy_goal(limits), weights=Weights(1.0, 0.0, 0.0, 0.0))


def models_of(limits: Limits) -> OutputModels:
    return OutputModels(DESCRIBER, TRIALS, goal_of(limits))


def quantile_s(share: float) -> float:
    return float(np.quantile([trial.outcome.latency_s for trial in TRIALS], share))


TIGHT = quantile_s(0.02)  # most of what scores well costs more


def test_a_limit_that_binds_has_a_price_and_one_that_does_not_says_so() -> None:
    limits = Limits(latency_s=TIGHT, size_bytes=1e12)
    found = sensitivities(models_of(limits), SLOW, TRIALS, np.random.default_rng(0))
    latency, size = found
    assert [one.cost for one in found] == ["latency_s", "size_bytes"]
    assert latency.binds > 0.9
    assert latency.gain is not None
    assert latency.half is not None
    assert latency.lifted is not None
    assert latency.gain.low >= 0
    assert 0.02 < latency.half.mean < latency.lifted.mean
    assert latency.lifted.low > 0.05
    assert size.binds == 0
    assert size.lifted is not None
    assert size.lifted.high == 0


@pytest.mark.slow
def test_what_the_world_gives_mostly_lies_in_the_intervals() -> None:
    """Of nine draws in ten: by half and lifted, of six searches."""
    held = []
    for seed in range(3, 9):
        trials = try_pairs(SLOW.sample(np.random.default_rng(seed), 24, tied=True))
        tight = float(np.quantile([trial.outcome.latency_s for trial in trials], 0.02))
        models = OutputModels(DESCRIBER, trials, goal_of(Limits(latency_s=tight)))
        (found,) = sensitivities(models, SLOW, trials, np.random.default_rng(0))
        truth = truth_of(models, trials)
        for one, true in ((found.half, truth.half), (found.lifted, truth.lifted)):
            assert one is not None
            assert true is not None
            held.append(one.low <= true.mean <= one.high)
    assert sum(held) >= 10


def test_what_no_limit_gives_lies_in_the_interval() -> None:
    models = models_of(Limits(latency_s=TIGHT))
    (found,) = sensitivities(models, SLOW, TRIALS, np.random.default_rng(0))
    true = truth_of(models, TRIALS).lifted
    assert found.lifted is not None
    assert true is not None
    assert true.mean > 0.01
    assert found.lifted.low <= true.mean <= found.lifted.high


def truth_of(models: OutputModels, trials: list[Trial]) -> Sensitivity:
    """Of the pairs that `sensitivities` looks at."""
    pairs = pool(models, SLOW, trials, np.random.default_rng(0))
    outcomes = [outcome_of(pair) for pair in pairs]
    score = np.array([[one.score for one in outcomes]], dtype=float)
    return known(models.goal, score, costs(outcomes)[None])


@given(st.floats(0.1, 10), st.floats(1e-3, 1e-1))
def test_a_price_is_the_slope_of_a_straight_world(limit: float, slope: float) -> None:
    """A hundred designs, each a step dearer and better by the slope; nothing is uncertain."""
    step = step_of(limit)
    latency = limit + step * np.arange(-50, 51) - 0.001 * step
    latency = latency[latency > 0]
    spent = np.full((1, len(latency), len(COSTS)), np.nan)
    spent[0, :, 0] = latency
    goal = goal_of(Limits(latency_s=limit))
    found = known(goal, 0.5 + slope * latency[None] / step / 100, spent)
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(slope / 100)
    assert found.lifted is not None
    assert found.lifted.mean == pytest.approx(50 * slope / 100)


def known(goal: Goal, scores: np.ndarray, spent: np.ndarray) -> Sensitivity:
    """scores (1, n), spent (1, n, 4): as if every draw said the same."""
    often = (np.repeat(scores, LEAST_DRAWS, axis=0), np.repeat(spent, LEAST_DRAWS, axis=0))
    places = [PLACES[0]] * scores.shape[1]
    return of_limit("latency_s", goal, places, (scores, spent), often)


def test_no_limit_no_price() -> None:
    assert sensitivities(models_of(Limits()), SLOW, TRIALS, np.random.default_rng(0)) == []


def test_a_limit_that_nothing_keeps_has_no_price() -> None:
    (found,) = sensitivities(
        models_of(Limits(latency_s=1e-6)), SLOW, TRIALS, np.random.default_rng(0)
    )
    assert found.gain is None
    assert found.binds == 1


@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.one_of(st.just(np.nan), st.floats(0.1, 2))), min_size=1
    ),
    st.floats(0.1, 2),
)
def test_the_best_within_a_limit_is_a_plain_loop(
    pairs: list[tuple[float, float]], limit: float
) -> None:
    values, spent = np.array(pairs).T
    (found,) = best_within(values, spent, np.array([limit]))
    allowed = [value for value, cost in pairs if not cost > limit]
    assert (found == -1) == (not allowed)
    if allowed:
        assert values[found] == max(allowed)


@given(st.floats(1e-6, 1e12))
def test_a_step_is_a_power_of_ten_near_a_tenth(limit: float) -> None:
    step = step_of(limit)
    assert np.log10(step) == pytest.approx(round(np.log10(step)))
    assert 0.0099 * limit < step < 0.1001 * limit


def test_draws_have_the_quantiles_of_the_models() -> None:
    """No means: the tail of bad scores is long, so 4,000 draws do not tell them."""
    goal = Goal(toy_goal().references, 0.05, Weights(size_bytes=0.1))
    models = OutputModels(DESCRIBER, try_pairs([trial.pair for trial in TRIALS]), goal)
    pairs = SLOW.sample(np.random.default_rng(8), 4, tied=False)
    scores, spent = draw_together(models, pairs, 4000, np.random.default_rng(1))
    normal = np.random.default_rng(2).standard_normal((4000, OUTPUTS))
    others, others_spent = models.outcomes(models.believe(pairs), normal)
    for one, other in ((scores, others), (np.log(spent), np.log(others_spent))):
        low, middle, high = np.quantile(other, [0.2, 0.5, 0.9], axis=0)
        found = np.quantile(one, [0.2, 0.5, 0.9], axis=0)
        near = 0.1 * float((high - low).max()) + 1e-6
        assert found == pytest.approx(np.array([low, middle, high]), abs=near)


def test_a_design_has_one_score_on_all_boards_in_each_draw() -> None:
    models = models_of(Limits())
    design = TRIALS[0].pair.architecture
    pairs = [Pair(design, place) for place in PLACES[:2]]
    scores, _ = draw_together(models, pairs, 50, np.random.default_rng(0))
    assert (scores[:, 0] == scores[:, 1]).all()
    assert SCORE in models.processes
    assert models.told == ("score",)
    assert len(COSTS) == 4
