"""Where trainings have a price: what a search then asks for, and what it spends."""

from __future__ import annotations

import numpy as np
import pytest
from edgetran_host.cosearch.boshcode import Boshcode, Exploration
from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.cosearch.inheriting import FROM_THE_SEED, Inheriting, training_costs
from edgetran_host.cosearch.lineage import lineage_pairs
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.pricing import MEASURING, Pricing
from edgetran_host.cosearch.querying import Effort

from .toy_world import PLACES, PRODUCT, outcome_of, toy_goal, try_pairs

SMALL = Effort(mutants=24, crossings=4, restarts=4, climbers=2, neighbours=6, rounds=3)
PAIRS = list(dict.fromkeys(PRODUCT.sample(np.random.default_rng(2), 20, tied=True)))


def paying_search(designer: Boshcode, count: int) -> list[Trial]:
    """Each trial pays for what it did not inherit from those before it."""
    for _ in range(count):
        (pair,) = designer.suggest(1)
        cost = float(training_costs([pair], designer.trials)[0])
        designer.update([Trial(pair, outcome_of(pair), cost)])
    return designer.trials


def test_it_begins_with_one_design_and_lives_on_what_that_hands_on() -> None:
    designer = Boshcode(PRODUCT, toy_goal(), 0, effort=SMALL, training_cost=training_costs)
    costs = [trial.training_cost for trial in paying_search(designer, 12)]
    assert costs[0] == 1
    assert max(costs[1:5]) < 1
    assert np.mean(costs[1:]) < 0.4
    assert 0 in costs  # a trained design on another board


@pytest.mark.slow
def test_it_is_better_for_the_same_trainings_than_without_prices() -> None:
    goal = toy_goal()

    def best_for(trainings: float, priced: bool, seed: int) -> float:
        designer = Boshcode(
            PRODUCT, goal, seed, effort=SMALL, training_cost=training_costs if priced else None
        )
        found, spent = -np.inf, 0.0
        while spent < trainings and len(designer.trials) < 40:
            trial = paying_search(designer, 1)[-1]
            spent += trial.training_cost
            found = max(found, goal.value(trial.pair.place, trial.outcome))
        return found

    gains = [best_for(4, True, seed) - best_for(4, False, seed) for seed in range(3)]
    assert np.median(gains) > 0


@pytest.mark.parametrize("exploration", [Exploration(1, 0), Exploration(0, 1)])
def test_explorations_are_priced_too(exploration: Exploration) -> None:
    designer = Boshcode(
        PRODUCT,
        toy_goal(),
        3,
        effort=SMALL,
        exploration=exploration,
        training_cost=Inheriting(floor=0.01),
    )
    designer.update(try_pairs(PAIRS[:8]))
    asked = designer.suggest(5)
    assert Inheriting(floor=0.01)(asked, designer.trials).mean() < 0.5


def test_a_discount_is_the_logarithm_of_what_is_paid() -> None:
    trials = try_pairs(PAIRS[:5])
    there = [Pair(PAIRS[0].architecture, place) for place in PLACES]
    assert Pricing(training_costs).discount(there, trials) == pytest.approx(np.log([MEASURING] * 3))
    strangers = PAIRS[5:]
    assert Pricing(training_costs).discount(strangers, trials) == pytest.approx(
        np.log(MEASURING + training_costs(strangers, trials))
    )


def test_cooling_is_the_share_of_the_budget_that_is_left() -> None:
    trials = [Trial(pair, outcome_of(pair), 0.5) for pair in PAIRS[:6]]
    assert Pricing(training_costs).cooling(trials) == 1
    assert Pricing(training_costs, budget=12).cooling(trials) == 0.75
    assert Pricing(training_costs, budget=2).cooling(trials) == 0


def test_where_nothing_is_handed_on_every_new_design_costs_alike() -> None:
    trials = try_pairs(PAIRS[:6])
    prices = FROM_THE_SEED(PAIRS, trials)
    trained = {trial.pair.architecture for trial in trials}
    assert prices.tolist() == [0.0 if one.architecture in trained else 1.0 for one in PAIRS]


def test_half_as_dear_is_drawn_twice_as_often() -> None:
    def cost(pairs, trials):  # type: ignore[no-untyped-def]
        return np.array([0.5, 1.0]) - MEASURING

    rng = np.random.default_rng(0)
    drawn = [Pricing(cost).draw(PAIRS[:2], [], rng) for _ in range(600)]
    assert drawn.count(PAIRS[0]) / 600 == pytest.approx(2 / 3, abs=0.06)


def test_a_lineage_is_of_different_tied_relatives_on_all_boards() -> None:
    features, pricing = ArchitectureFeatures(PRODUCT.space), Pricing(training_costs)
    found = lineage_pairs(PRODUCT, features, pricing, 6, seed=4)
    assert found == lineage_pairs(PRODUCT, features, pricing, 6, seed=4)
    small = Pricing(training_costs, budget=3)  # of which nothing is spent before the first
    assert found == lineage_pairs(PRODUCT, features, small, 6, seed=4)
    assert len({pair.architecture for pair in found}) == 6
    assert {pair.place for pair in found} == set(PLACES)
    assert all(len(set(pair.architecture.layers)) == 1 for pair in found)
    trials: list[Trial] = []
    for pair in found:
        trials.append(Trial(pair, outcome_of(pair), float(training_costs([pair], trials)[0])))
    assert sum(trial.training_cost for trial in trials) < 4
