"""Costs as sums of work: they go on beyond what was tried, and boards teach one another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from edgetran_host.cosearch.features import FLOPS, ArchitectureFeatures
from edgetran_host.cosearch.work_costs import (
    LEAST_DEVIATION,
    MOST_DEVIATION,
    WorkCosts,
    fit_work_costs,
)
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.parameters import count_parameters
from edgetran_host.space.sampling import sample

NEAR, FAR, NEVER = range(3)
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], WorkCosts]
FLEXIBERT2 = DesignSpace.flexibert2()


@pytest.fixture(scope="module")
def features() -> ArchitectureFeatures:
    return ArchitectureFeatures(FLEXIBERT2)


@pytest.fixture(scope="module")
def work(features: ArchitectureFeatures) -> np.ndarray:
    """(60, K) smallest design first."""

    def size(design: Architecture) -> int:
        return count_parameters(design).total

    return features.work(sorted(sample(FLEXIBERT2, 60, np.random.default_rng(0)), key=size))


def shares(work: np.ndarray) -> np.ndarray:
    """A fifth of a reference's cost is constant, the rest lies in operations."""
    return 0.2 + work[:, [1 + at for at in FLOPS]] @ np.full(len(FLOPS), 0.8 / len(FLOPS))


@pytest.fixture(scope="module")
def fit(features: ArchitectureFeatures) -> Fit:
    return partial(fit_work_costs, likely=features.likely_shares)


def test_it_goes_on_beyond_what_was_tried(fit: Fit, work: np.ndarray) -> None:
    model = fit(work[:25], np.zeros(25), shares(work[:25]))
    mean, deviation = model.foretell(work[-5:], np.zeros(5))
    assert np.abs(np.exp(mean) / shares(work[-5:]) - 1).max() < 0.15
    assert (np.abs(mean - np.log(shares(work[-5:]))) < 3 * deviation).all()


@pytest.mark.parametrize("place", [FAR, NEVER])
def test_a_board_tried_seldom_or_never_is_like_the_others(
    fit: Fit, work: np.ndarray, place: int
) -> None:
    tried = np.vstack([work[::3], work[[3, 40]]])
    model = fit(tried, np.array([NEAR] * 20 + [FAR] * 2), shares(tried))
    mean, deviation = model.foretell(work[1::9], np.full(7, place))
    off = np.exp(mean) / shares(work[1::9]) - 1
    assert np.abs(off).max() < 0.45  # these boards price rare operations as no likely one does
    assert (np.abs(off) < 1.5 * deviation).all()
    assert (deviation > model.foretell(work[1::9], np.full(7, NEAR))[1]).all()


def test_costs_are_not_negative_and_fit_what_was_tried(fit: Fit, work: np.ndarray) -> None:
    x, y = work[:30], shares(work[:30])
    model = fit(x, np.zeros(30), y)
    assert (model.costs >= 0).all()
    assert np.median(np.abs(np.exp(model.foretell(x, np.zeros(30))[0]) / y - 1)) < 0.03


def test_one_wild_trial_moves_little(fit: Fit, work: np.ndarray) -> None:
    clean = shares(work[:30])
    wild = clean.copy()
    wild[12] *= 20
    mean, _ = fit(work[:30], np.zeros(30), wild).foretell(work[:30], np.zeros(30))
    kept = np.arange(30) != 12
    assert np.abs(np.exp(mean) / clean - 1)[kept].max() < 0.25


def test_deviations_shrink_with_trials_and_tell_how_far_off_it_is(
    fit: Fit, work: np.ndarray
) -> None:
    rng = np.random.default_rng(4)
    noisy = shares(work) * np.exp(0.1 * rng.normal(size=60))
    turns = np.arange(60) % 3
    few, many = (
        fit(work[::step], turns[::step], noisy[::step]).foretell(work, turns) for step in (5, 1)
    )
    assert (many[1] < few[1]).mean() > 0.75
    assert many[1].mean() < 0.5 * few[1].mean()
    off = np.abs(few[0] - np.log(shares(work))) / few[1]
    assert np.mean(off < 2) > 0.85


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_trials_are_no_trouble(fit: Fit, work: np.ndarray, count: int) -> None:
    model = fit(work[:count], np.arange(count), np.full(count, 0.5))
    mean, deviation = model.foretell(work, np.full(60, NEVER))
    assert np.isfinite(mean).all()
    assert ((deviation >= LEAST_DEVIATION) & (deviation <= MOST_DEVIATION)).all()


def test_the_order_of_trials_does_not_matter(fit: Fit, work: np.ndarray) -> None:
    turns = np.arange(24) % 2
    turned = np.arange(24)[::-1]

    def fitted(order: np.ndarray) -> WorkCosts:
        return fit(work[order], turns[order], shares(work[order]))

    assert fitted(turned).costs == pytest.approx(fitted(np.arange(24)).costs, abs=1e-6)
