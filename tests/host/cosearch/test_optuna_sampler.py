"""Pairs as Optuna's parameters; a designer as its sampler, in one process and in two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from edgetran_host.cosearch.boshcode import Boshcode
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.optuna_params import (
    distributions,
    from_params,
    suggest_pair,
    to_params,
)
from edgetran_host.cosearch.optuna_sampler import DesignerSampler, record
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.querying import Effort
from edgetran_protos.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st

from tests.host.cosearch.toy_world import PRODUCT, outcome_of, search, toy_goal

SMALL = Effort(parents=6, mutants=24, crossings=8, restarts=8, climbers=2, neighbours=8, rounds=3)
GOAL = toy_goal()


@pytest.fixture(autouse=True, scope="module")
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def designer() -> Designer:
    return Boshcode(PRODUCT, GOAL, 1, starts=4, effort=SMALL)


def objective(trial: optuna.Trial) -> float:
    pair = suggest_pair(trial, PRODUCT)
    record(trial, outcome_of(pair))
    return GOAL.value(pair.place, outcome_of(pair))


def pairs_of(study: optuna.Study) -> list[Pair]:
    return [from_params(trial.params, PRODUCT) for trial in study.trials]


@given(st.integers(0, 2**32), st.booleans())
def test_a_pair_comes_back_from_its_parameters(seed: int, tied: bool) -> None:
    (pair,) = PRODUCT.sample(np.random.default_rng(seed), 1, tied)
    params = to_params(pair, PRODUCT)
    assert from_params(params, PRODUCT) == pair
    known = distributions(PRODUCT)
    assert all(known[name]._contains(known[name].to_internal_repr(params[name])) for name in params)


@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_whatever_a_sampler_draws_is_a_pair(sampler: type[optuna.samplers.BaseSampler]) -> None:
    study = optuna.create_study(sampler=sampler(seed=0), direction="maximize")  # type: ignore[call-arg]
    study.optimize(objective, 15)
    assert all(PRODUCT.contains(pair) for pair in pairs_of(study))


def test_a_study_goes_where_the_designer_goes() -> None:
    study = optuna.create_study(sampler=DesignerSampler(designer(), PRODUCT), direction="maximize")
    study.optimize(objective, 8)
    assert pairs_of(study) == [trial.pair for trial in search(designer(), 8)]


def test_a_study_on_disk_goes_on_alike_in_another_process(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for count in (5, 3):
        study = optuna.create_study(
            storage=storage,
            study_name="search",
            sampler=DesignerSampler(designer(), PRODUCT),
            direction="maximize",
            load_if_exists=True,
        )
        study.optimize(objective, count)
    assert pairs_of(study) == [trial.pair for trial in search(designer(), 8)]


def test_trials_under_way_and_failed_ones_are_not_suggested_again() -> None:
    study = optuna.create_study(sampler=DesignerSampler(designer(), PRODUCT), direction="maximize")
    asked = [study.ask() for _ in range(3)]  # their parameters are not taken yet
    pairs = [suggest_pair(trial, PRODUCT) for trial in asked]
    study.tell(asked[0], state=optuna.trial.TrialState.FAIL)
    pairs += [suggest_pair(study.ask(), PRODUCT) for _ in range(3)]
    assert len(set(pairs)) == 6


def test_a_trial_without_an_outcome_is_named() -> None:
    study = optuna.create_study(sampler=DesignerSampler(designer(), PRODUCT), direction="maximize")
    trial = study.ask()
    suggest_pair(trial, PRODUCT)
    study.tell(trial, 1.0)
    with pytest.raises(UsageError, match="trial 0 of the study has no outcome") as caught:
        suggest_pair(study.ask(), PRODUCT)
    assert "record(trial, outcome)" in str(caught.value.hint)
