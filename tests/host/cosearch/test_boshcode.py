"""What BOSHCODE suggests: valid, new, the same after a kill, within limits, and good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from edgetran_host.cosearch.boshcode import (
    TIED,
    Boshcode,
    Exploration,
    TrainingCost,
    milestone,
)
from edgetran_host.cosearch.front import dominates, objectives
from edgetran_host.cosearch.goal import Goal, Limits
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.outputs import LATENCY, SCORE, OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.querying import Effort
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.design_space import DesignSpace
from hypothesis import given
from hypothesis import strategies as st

from tests.host.cosearch.toy_world import (
    PLACES,
    PRODUCT,
    SPACE,
    outcome_of,
    search,
    toy_goal,
    try_pairs,
)

SMALL = Effort(parents=6, mutants=24, crossings=8, restarts=8, climbers=2, neighbours=8, rounds=3)
GREEDY = Exploration(alpha=0.0, beta=0.0)


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return search(Boshcode(PRODUCT, toy_goal(), 1, starts=6, effort=SMALL), 16)


def value(goal: Goal, trials: list[Trial]) -> float:
    return max(goal.value(trial.pair.place, trial.outcome) for trial in trials)


def points_of(trials: list[Trial]) -> list[np.ndarray]:
    """Score and latency: all places give both."""
    return [objectives(trial.outcome)[:2] for trial in trials]


def test_suggestions_are_new_and_of_the_space(trials: list[Trial]) -> None:
    assert len({trial.pair for trial in trials}) == 16
    assert all(PRODUCT.contains(trial.pair) for trial in trials)


def test_a_search_starts_with_one_block_repeated_on_each_board_in_turn(
    trials: list[Trial],
) -> None:
    first = [trial.pair for trial in trials[:6]]
    assert all(len(set(pair.architecture.layers)) == 1 for pair in first)
    assert [pair.place for pair in first[:3]] == [pair.place for pair in first[3:]]
    assert {pair.place for pair in first} == set(PLACES)


def test_early_queries_are_one_block_repeated_and_later_ones_need_not_be(
    trials: list[Trial],
) -> None:
    def tied(pair: Pair) -> bool:
        return len(set(pair.architecture.layers)) == 1

    assert all(tied(one.pair) for one in trials)
    untied = try_pairs(PRODUCT.sample(np.random.default_rng(5), TIED, tied=False))
    designer = Boshcode(PRODUCT, toy_goal(), 1, starts=0, effort=SMALL, exploration=GREEDY)
    designer.update(untied[: TIED - 1])
    assert all(map(tied, designer.suggest(1)))
    designer.update(untied[TIED - 1 :])
    assert not all(map(tied, designer.suggest(6)))


@pytest.mark.parametrize("told", [0, 3, 7, 12, 13])
def test_a_killed_search_goes_on_alike(trials: list[Trial], told: int) -> None:
    again = Boshcode(PRODUCT, toy_goal(), 1, starts=6, effort=SMALL)
    again.update(trials[:told])
    assert again.suggest(1) == [trials[told].pair]


def test_it_says_why_it_suggests() -> None:
    designer = Boshcode(PRODUCT, toy_goal(), 1, starts=2, exploration=GREEDY, effort=SMALL)
    reasons = []
    for _ in range(4):
        designer.update(try_pairs(designer.suggest(1)))
        reasons.append(designer.reason)
    assert reasons[:2] == ["one of the first, before any model"] * 2
    assert set(reasons[2:]) <= {"expected improvement", "upper quantile of the goal"}
    chance = Boshcode(PRODUCT, toy_goal(), 1, starts=0, exploration=Exploration(0, 1))
    chance.suggest(1)
    assert chance.reason == "by chance"


def test_pending_pairs_are_not_suggested_again(trials: list[Trial]) -> None:
    designer = Boshcode(PRODUCT, toy_goal(), 1, starts=6, effort=SMALL)
    designer.update(trials[:10])
    asked = designer.suggest(3)
    assert len({*asked, *(trial.pair for trial in trials[:10])}) == 13
    designer.update(try_pairs(asked[:1]))
    assert designer.pending == asked[1:]


def test_an_exhausted_space_is_said_to_be() -> None:
    tiny = DesignSpace("tiny", (1,), (128,), (2,), ("sa_sdp", "l_dct"), (256,), (1,))
    designer = Boshcode(ProductSpace(tiny, PLACES[:1]), toy_goal(), 0, starts=2, effort=SMALL)
    assert [len(designer.suggest(count)) for count in (2, 5, 1)] == [2, 1, 0]


@pytest.mark.slow
def test_it_beats_random_search_by_far() -> None:
    goal = toy_goal()
    designer = Boshcode(PRODUCT, goal, 3, starts=8, effort=SMALL, exploration=GREEDY)
    found = value(goal, search(designer, 20))
    rng = np.random.default_rng(3)
    random = [value(goal, try_pairs(PRODUCT.sample(rng, 20, tied=False))) for _ in range(20)]
    best, middle = max(random), float(np.median(random))
    assert found - middle > 1.5 * (best - middle)


@pytest.mark.slow
def test_limits_hold_where_pairs_that_keep_them_are_known() -> None:
    rng = np.random.default_rng(8)
    known = try_pairs(PRODUCT.sample(rng, 24, tied=True))
    limit = float(np.quantile([trial.outcome.latency_s for trial in known], 0.3))
    goal = toy_goal(Limits(latency_s=limit))
    designer = Boshcode(PRODUCT, goal, 8, starts=0, effort=SMALL, exploration=GREEDY)
    designer.update(known)
    later = search(designer, 6)[24:]
    assert sum(goal.keeps(trial.outcome) for trial in later) >= 5


def test_a_dearer_training_makes_a_pair_less_likely(trials: list[Trial]) -> None:
    def suggested(training_cost: TrainingCost | None) -> Pair:
        designer = Boshcode(
            PRODUCT,
            toy_goal(),
            1,
            starts=0,
            effort=SMALL,
            exploration=GREEDY,
            training_cost=training_cost,
        )
        designer.update(trials[:13])
        (pair,) = designer.suggest(1)
        return pair

    free = suggested(None).architecture

    def cost(pairs: Sequence[Pair], trials: Sequence[Trial]) -> np.ndarray:
        """Whatever is as deep as what would be tried is dear."""
        same = [len(pair.architecture.layers) == len(free.layers) for pair in pairs]
        return np.where(same, 1.0, 0.001)

    assert len(suggested(cost).architecture.layers) != len(free.layers)


def test_what_was_never_trained_teaches_costs_only(trials: list[Trial]) -> None:
    untrained = [replace(one, outcome=replace(one.outcome, score=None)) for one in trials[8:12]]
    designer = Boshcode(PRODUCT, toy_goal(), 1, starts=0, effort=SMALL, exploration=GREEDY)
    designer.update([*trials[:8], *untrained])
    models = designer._models()
    pairs = [trial.pair for trial in trials[12:]]
    without = OutputModels(designer._describer, trials[:8], toy_goal(), learnt=models.scales)
    found, before = models.believe(pairs), without.believe(pairs)
    assert found.mean[:, SCORE] == pytest.approx(before.mean[:, SCORE])
    assert np.abs(found.mean[:, LATENCY] - before.mean[:, LATENCY]).max() > 1e-6
    assert PRODUCT.contains(designer.suggest(1)[0])


@pytest.mark.parametrize("whole_front", [False, True])
def test_a_search_goes_on_where_nothing_was_trained_yet(
    trials: list[Trial], whole_front: bool
) -> None:
    untrained = [replace(one, outcome=replace(one.outcome, score=None)) for one in trials[:8]]
    limit = min(one.outcome.latency_s for one in untrained) / 2
    goal = toy_goal(Limits(latency_s=limit))
    designer = Boshcode(
        PRODUCT, goal, 1, starts=0, effort=SMALL, exploration=GREEDY, whole_front=whole_front
    )
    designer.update(untrained)
    (pair,) = designer.suggest(1)
    middle = float(np.median([one.outcome.latency_s for one in untrained]))
    assert outcome_of(pair).latency_s < middle


def test_a_front_grows(trials: list[Trial]) -> None:
    designer = Boshcode(PRODUCT, toy_goal(), 1, starts=0, effort=SMALL, whole_front=True)
    designer.update(trials[:12])
    later = search(designer, 2)[12:]
    before, after = (points_of(some) for some in (trials[:12], later))
    assert any(not any(dominates(one, new) for one in before) for new in after)


@given(st.integers(1, 3000))
def test_milestones_depend_on_the_count_alone_and_stay_near(count: int) -> None:
    last = milestone(count)
    assert milestone(last) == last <= count
    assert count - last < max(4, last / 8 + 1)


def test_a_board_without_a_sensor_is_searched_too() -> None:
    goal = toy_goal()
    designer = Boshcode(PRODUCT, goal, 2, starts=6, effort=SMALL, exploration=GREEDY)
    assert all(
        np.isfinite(goal.value(t.pair.place, outcome_of(t.pair))) for t in search(designer, 9)
    )
    assert SPACE.contains(designer.trials[-1].pair.architecture)
