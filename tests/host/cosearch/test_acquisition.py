"""Acquisitions against plain loops over the same samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edgetran_host.cosearch.acquisition import (
    FRONT_SAMPLES,
    MARGIN,
    SOFT_GAIN,
    SOFT_LIMIT,
    FrontGrowth,
    Improvement,
    Quantile,
    normal_samples,
)
from edgetran_host.cosearch.front import hypervolume, objectives
from edgetran_host.cosearch.goal import Goal, Limits
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.outputs import (
    ENERGY,
    LATENCY,
    PEAK,
    SCORE,
    Compression,
    Describer,
    OutputModels,
)
from edgetran_host.cosearch.pair import Pair
from hypothesis import given
from hypothesis import strategies as st

from tests.host.cosearch.toy_world import PLACES, PRODUCT, SPACE, outcome_of, toy_goal, try_pairs

DESCRIBER = Describer(SPACE, PLACES)
RNG = np.random.default_rng(12)
TRIALS = try_pairs(PRODUCT.sample(RNG, 18, tied=True))
NEW = PRODUCT.sample(RNG, 6, tied=False)
NORMAL = normal_samples(RNG)


def models_of(goal: Goal) -> OutputModels:
    return OutputModels(DESCRIBER, TRIALS, goal)


def sampled(models: OutputModels, pair: Pair) -> list[Outcome]:
    """One outcome a row of NORMAL, written out."""
    belief = models.believe([pair])
    found = []
    for z in NORMAL:
        drawn = belief.mean[0] + z * belief.deviation[0]
        score = models.outcomes(belief, z[None])[0][0, 0]
        assert drawn[SCORE] < models.squeezed.median or score == pytest.approx(drawn[SCORE])
        latency = math.exp(drawn[LATENCY])
        known = not math.isnan(drawn[ENERGY])
        energy = math.exp(drawn[ENERGY]) if known else None
        peak = math.exp(drawn[PEAK]) if known else None
        found.append(Outcome(float(score), latency, energy, peak, math.nan))
    return found


@pytest.mark.parametrize("limited", [False, True])
def test_expected_improvement_is_a_mean_over_samples(limited: bool) -> None:
    limit = float(np.median([trial.outcome.latency_s for trial in TRIALS]))
    goal = toy_goal(Limits(latency_s=limit) if limited else None)
    models, best, spread = models_of(goal), 0.3, 0.5
    found = Improvement(models, NORMAL, best, spread).values(
        models.believe(NEW), [pair.place for pair in NEW]
    )
    for pair, value in zip(NEW, found):
        total = 0.0
        for outcome in sampled(models, pair):
            gain = (goal.value(pair.place, outcome) - best) / (SOFT_GAIN * spread)
            kept = 1 / (1 + (outcome.latency_s / limit) ** (1 / SOFT_LIMIT)) if limited else 1.0
            total += (gain if gain > 30 else math.log1p(math.exp(gain))) * kept
        assert value == pytest.approx(math.log(total / len(NORMAL)), rel=1e-6, abs=1e-6)


def test_without_a_pair_that_keeps_the_limits_one_is_looked_for() -> None:
    limit = float(np.median([trial.outcome.latency_s for trial in TRIALS]))
    models = models_of(toy_goal(Limits(latency_s=limit)))
    known = [trial.pair for trial in TRIALS]
    values = Improvement(models, NORMAL, None, 1.0).values(
        models.believe(known), [pair.place for pair in known]
    )
    keeps = np.array([trial.outcome.latency_s < 0.8 * limit for trial in TRIALS])
    breaks = np.array([trial.outcome.latency_s > 1.25 * limit for trial in TRIALS])
    assert values[keeps].min() > values[breaks].max()


def test_the_quantile_is_one() -> None:
    goal = toy_goal()
    models = models_of(goal)
    places = [pair.place for pair in NEW]
    found = Quantile(models, NORMAL).values(models.believe(NEW), places)
    values = [[goal.value(pair.place, one) for one in sampled(models, pair)] for pair in NEW]
    assert found == pytest.approx(np.quantile(values, 0.9, axis=1))


def test_growth_of_a_front_is_volume_with_less_volume_without() -> None:
    models = models_of(toy_goal())
    points = np.array([objectives(trial.outcome) for trial in TRIALS])[:, :2]  # given everywhere
    padded = np.hstack([points, np.full((len(points), 2), np.nan)])
    found = FrontGrowth(models, NORMAL, padded).values(
        models.believe(NEW), [pair.place for pair in NEW]
    )
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled, reference = (points - low) / span, np.full(2, 1 + MARGIN)
    before = hypervolume(scaled, reference)
    for pair, value in zip(NEW, found):
        growths = [
            hypervolume(np.vstack([scaled, (objectives(one)[:2] - low) / span]), reference) - before
            for one in sampled(models, pair)[:FRONT_SAMPLES]
        ]
        assert math.exp(value) == pytest.approx(np.mean(growths), abs=1e-9)


def test_a_board_that_never_gave_energy_is_believed_to_give_none() -> None:
    models = models_of(toy_goal())
    belief = models.believe([Pair(NEW[0].architecture, place) for place in PLACES])
    assert np.isnan(belief.mean[:, ENERGY]).tolist() == [False, False, True]


def test_what_somebody_foretells_exactly_leaves_nothing_to_learn() -> None:
    def foretell(pairs):  # type: ignore[no-untyped-def]
        outcomes = [outcome_of(pair) for pair in pairs]
        return np.array([[one.latency_s, np.nan, np.nan, np.nan] for one in outcomes])

    models = OutputModels(DESCRIBER, TRIALS, toy_goal(), foretell)
    belief = models.believe(NEW)
    truth = np.log([outcome_of(pair).latency_s for pair in NEW])
    assert belief.mean[:, LATENCY] == pytest.approx(truth, abs=1e-6)
    plain = models_of(toy_goal()).believe(NEW)
    assert np.abs(plain.mean[:, LATENCY] - truth).max() > 1e-3


@given(st.floats(0, 1), st.floats(0.01, 1), st.lists(st.floats(-1, 1), min_size=2, max_size=20))
def test_compression_is_undone_and_keeps_the_order(
    median: float, spread: float, values: list[float]
) -> None:
    one, y = Compression(median, spread), np.sort(median + spread * np.array(values) * 9)
    z = one.squeeze(y)
    assert one.release(z) == pytest.approx(y)
    assert (np.diff(z) >= 0).all()
    assert (z[y >= median] == y[y >= median]).all()
