"""Optuna's samplers as search methods, on the representation that suits them best: one block,
repeated. Every suggestion starts from a study anew, so that a search which was killed goes on
alike."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.goal import COSTS, Goal, costs
from edgetran_host.cosearch.moves import tie
from edgetran_host.cosearch.optuna_params import Params, distributions, from_params, to_params
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace

BLOCK = "layer0."
TRIES = 20  # suggestions that somebody has, before a neighbour is drawn at random


class OptunaDesigner(Designer):
    def __init__(self, product: ProductSpace, goal: Goal, seed: int, sampler: str) -> None:
        """sampler: the name of a class of optuna.samplers that takes a seed."""
        super().__init__(seed)
        self._product = product
        self._goal = goal
        self._sampler = getattr(optuna.samplers, sampler)
        self._distributions = {
            name: one
            for name, one in distributions(product).items()
            if "." not in name or name.startswith(BLOCK)
        }

    def _suggest(self, rng: np.random.Generator) -> Pair | None:
        taken, study = self.taken(), self._study(int(rng.integers(2**31)))
        for _ in range(TRIES):
            trial = study.ask(self._distributions)
            pair = self._decoded(trial.params)
            if pair not in taken:
                return pair
            study.tell(trial, state=TrialState.FAIL)
        drawn = self._product.sample(rng, 100, tied=True)
        return next((pair for pair in drawn if pair not in taken), None)

    def _study(self, seed: int) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize", sampler=self._sampler(seed=seed))
        known = [trial for trial in self.trials if trial.outcome.score is not None]
        study.add_trials([self._told(trial) for trial in known])
        return study

    def _told(self, trial: Trial) -> FrozenTrial:
        excess = self._goal.excess(costs([trial.outcome]))[0]
        return create_trial(
            params=self._encoded(trial.pair),
            distributions=self._distributions,
            value=self._goal.value(trial.pair.place, trial.outcome),
            constraints=dict(zip(COSTS, map(float, excess))),
        )

    def _encoded(self, pair: Pair) -> Params:
        """Trials of others are told by the block that is commonest in them."""
        tied = replace(pair, architecture=tie(pair.architecture))
        found = to_params(tied, self._product)
        return {
            name: found[name] if name in found else _first(one)
            for name, one in self._distributions.items()
        }

    def _decoded(self, params: Params) -> Pair:
        block = {name.removeprefix(BLOCK): one for name, one in params.items() if "." in name}
        layers = range(params["layers"])
        every = {f"layer{at}.{name}": one for at in layers for name, one in block.items()}
        return from_params({**params, **every}, self._product)


def _first(distribution: BaseDistribution) -> Any:
    """Of a width that a shallow stack has not: the only parameters that a pair may lack."""
    assert isinstance(distribution, CategoricalDistribution)
    return distribution.choices[0]
