"""Costs as sums of work: they go on beyond what was tried, and no trial foretells itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetran_host.cosearch.cost_prior import CostPrior
from edgetran_host.cosearch.goal import COSTS, Goal
from edgetran_host.cosearch.layer_features import exact_terms
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.parameters import count_parameters
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS

NEAR, FAR, NEVER = Place("rpi4:cpu"), Place("jetson-nano:cpu"), Place("m1:cpu")
SCALE = {NEAR: 1.0, FAR: 8.0, NEVER: 0.3}
FLOPS = [at for at, name in enumerate(ARCHITECTURE_TERMS) if name.endswith("_flops")]
LATENCY, ENERGY = COSTS.index("latency_s"), COSTS.index("energy_j")


def outcome(pair: Pair) -> Outcome:
    """A second of constant on the first board, and 1e-10 s an operation."""
    flops = exact_terms(pair.architecture)[FLOPS].sum()
    latency_s = SCALE[pair.place] * (1.0 + 1e-10 * flops)
    return Outcome(0.7, latency_s, 3 * latency_s, 5.0, 1e6)


@pytest.fixture(scope="module")
def designs() -> list[Pair]:
    """Smallest first."""
    drawn = sample(DesignSpace.flexibert2(), 60, np.random.default_rng(0))
    drawn.sort(key=lambda one: count_parameters(one).total)
    return [Pair(one, NEAR) for one in drawn]


@pytest.fixture(scope="module")
def goal(designs: list[Pair]) -> Goal:
    middle = designs[30].architecture
    return Goal({place: outcome(Pair(middle, place)) for place in SCALE}, 0.04)


def trials(pairs: list[Pair]) -> list[Trial]:
    return [Trial(pair, outcome(pair)) for pair in pairs]


def test_it_goes_on_beyond_what_was_tried(designs: list[Pair], goal: Goal) -> None:
    prior = CostPrior(trials(designs[:25]), goal)
    found = prior(designs[-5:])
    exact = np.array([outcome(pair).latency_s for pair in designs[-5:]])
    assert np.abs(found[:, LATENCY] / exact - 1).max() < 0.15
    assert np.allclose(found[:, ENERGY], 3 * found[:, LATENCY], rtol=0.1)
    assert np.isnan(found[:, COSTS.index("peak_power_w")]).all()


@pytest.mark.parametrize("place", [FAR, NEVER])
def test_a_board_tried_seldom_or_never_is_like_the_others(
    designs: list[Pair], goal: Goal, place: Place
) -> None:
    seldom = [Pair(designs[at].architecture, FAR) for at in (3, 40)]
    prior = CostPrior(trials([*designs[::3], *seldom]), goal)
    there = [Pair(pair.architecture, place) for pair in designs[1::9]]
    exact = np.array([outcome(pair).latency_s for pair in there])
    assert np.abs(prior(there)[:, LATENCY] / exact - 1).max() < 0.2


def test_no_trial_foretells_itself(designs: list[Pair], goal: Goal) -> None:
    made = trials(designs[:12])
    wild = dataclasses.replace(made[4].outcome, latency_s=1e3)
    before = CostPrior(made, goal).held_out
    after = CostPrior([*made[:4], Trial(made[4].pair, wild), *made[5:]], goal).held_out
    assert before[4, LATENCY] == pytest.approx(after[4, LATENCY])
    assert np.isfinite(before[:, [LATENCY, ENERGY]]).all()


def test_too_few_trials_teach_nothing(designs: list[Pair], goal: Goal) -> None:
    for count in (0, 2):
        assert np.isnan(CostPrior(trials(designs[:count]), goal)(designs[:3])).all()
