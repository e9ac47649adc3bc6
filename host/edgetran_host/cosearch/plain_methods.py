"""Searches without a model: chance, and steps from the best seen, first of all layers alike."""

from __future__ import annotations

import numpy as np

from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.goal import Goal
from edgetran_host.cosearch.moves import step
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace

TRIES = 100  # draws of a pair that nobody has, before a space counts as exhausted
BY_CHANCE, A_STEP = "by chance", "a step from the best seen"  # reasons
STARTS = 10  # of a local search, one block repeated
ALIKE = 60  # trials during which a local search changes all layers alike


class RandomSearch(Designer):
    """Tied designs and any others in turn."""

    def __init__(self, product: ProductSpace, seed: int) -> None:
        super().__init__(seed)
        self._product = product

    def _suggest(self, rng: np.random.Generator) -> Pair | None:
        self.reason = BY_CHANCE
        tied = len(self.taken()) % 2 == 0
        return _drawn(self._product, rng, self.taken(), tied)


class LocalSearch(Designer):
    """Steps from the best seen; what keeps the limits comes before what does not."""

    def __init__(self, product: ProductSpace, goal: Goal, seed: int) -> None:
        super().__init__(seed)
        self._product = product
        self._goal = goal

    def _suggest(self, rng: np.random.Generator) -> Pair | None:
        taken = self.taken()
        scored = [trial for trial in self.trials if trial.outcome.score is not None]
        self.reason = BY_CHANCE
        if len(taken) < STARTS or not scored:
            return _drawn(self._product, rng, taken, tied=True)
        best = max(scored, key=self._merit).pair
        scope = "all" if len(taken) < ALIKE else ""
        for _ in range(TRIES):
            pair = step(best, self._product, rng, scope)
            if pair not in taken:
                self.reason = A_STEP
                return pair
        return _drawn(self._product, rng, taken, tied=True)

    def _merit(self, trial: Trial) -> tuple[bool, float]:
        value = self._goal.value(trial.pair.place, trial.outcome)
        return self._goal.keeps(trial.outcome), value


def _drawn(
    product: ProductSpace, rng: np.random.Generator, taken: set[Pair], tied: bool
) -> Pair | None:
    drawn = product.sample(rng, TRIES, tied)
    return next((pair for pair in drawn if pair not in taken), None)
