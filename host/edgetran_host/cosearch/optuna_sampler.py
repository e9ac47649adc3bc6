"""BOSHCODE, or any other `Designer`, as a sampler of Optuna: for studies that exist already.

    sampler = DesignerSampler(Boshcode(product, goal, seed=0), product)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        pair = suggest_pair(trial, product)
        outcome = ...  # train it, measure it
        record(trial, outcome)
        return goal.value(pair.place, outcome)

The designer learns from what was recorded, cost by cost, which says more than one value.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import optuna
from edgetran_protos.errors import UsageError
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.optuna_params import Params, distributions, from_params, to_params
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace

OUTCOME, TRAINING_COST = "outcome", "training_cost"  # attributes of a trial


def record(trial: optuna.Trial, outcome: Outcome, training_cost: float = 1.0) -> None:
    """Before the objective returns. training_cost: in full trainings."""
    trial.set_user_attr(TRAINING_COST, training_cost)
    trial.set_user_attr(OUTCOME, asdict(outcome))


class DesignerSampler(BaseSampler):
    """Trials of other processes and earlier ones of the study count as if they were its own."""

    def __init__(self, designer: Designer, product: ProductSpace) -> None:
        """designer: a new one; it is told the study's trials."""
        self._designer = designer
        self._product = product
        self._random = RandomSampler(seed=designer.seed)
        self._told: set[int] = set()  # numbers of trials
        self._asked: dict[int, Pair] = {}  # by number of the trial
        self._alone = threading.Lock()  # Optuna asks from several threads

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return distributions(self._product)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> Params:
        """Raises UsageError for a trial that ended without `record`."""
        with self._alone:
            self._tell(study)
            self._designer.pending = self._open(study, trial)
            suggested = self._designer.suggest(1)
            if not suggested:
                return {}  # the space has no more: what is asked for is drawn at random
            self._asked[trial.number] = suggested[0]
            return to_params(suggested[0], self._product)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """What a designer suggests follows from its trials, whichever process asks."""

    def _tell(self, study: optuna.Study) -> None:
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.number not in self._told:
                self._designer.update([_as_trial(trial, self._product)])
                self._told.add(trial.number)

    def _open(self, study: optuna.Study, asking: FrozenTrial) -> list[Pair]:
        """Of trials that are under way, waiting, failed or pruned: not to be suggested again."""
        found = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number != asking.number and trial.state != TrialState.COMPLETE:
                pair = _pair_of(trial, self._product) or self._asked.get(trial.number)
                found += [pair] if pair else []
        return found


def _as_trial(trial: FrozenTrial, product: ProductSpace) -> Trial:
    pair, found = _pair_of(trial, product), trial.user_attrs
    if pair is None or OUTCOME not in found:
        raise UsageError(
            f"trial {trial.number} of the study has no {'outcome' if pair else 'pair'}",
            hint="take the pair from suggest_pair(trial, product), call record(trial, outcome)"
            " before the objective returns, and keep other trials in a study of their own",
        )
    return Trial(pair, Outcome(**found[OUTCOME]), found[TRAINING_COST])


def _pair_of(trial: FrozenTrial, product: ProductSpace) -> Pair | None:
    """None: its parameters are not those of a pair, or not all suggested yet."""
    try:
        pair = from_params(trial.params, product)
    except KeyError:
        return None
    return pair if product.contains(pair) else None
