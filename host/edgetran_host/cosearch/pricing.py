"""What a suggestion is worth for its price: improvement per training.

    ln improvement - cooling ln(MEASURING + cost)

The cost is that of the training, in full ones, by what is trained already: next to nothing
for a trained design on another board, which is only measured there. Without a budget the
cooling is 1. With one it is the share of the budget that is left, so that a search first
learns from what is cheap, and in the end pays for what is best.
Source: Lee et al., "Cost-aware Bayesian optimization" (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair

TrainingCost = Callable[[Sequence[Pair], Sequence[Trial]], np.ndarray]
"""Pairs and all trials -> (n,) what trying each would cost, as `Trial.training_cost`."""

MEASURING = 0.02  # of a full training: a minute on a board, beside most of an hour


class Pricing:
    def __init__(self, training_cost: TrainingCost, budget: float | None = None) -> None:
        """budget: full trainings; None: no limit is known."""
        self._training_cost = training_cost
        self._budget = budget

    def discount(self, pairs: Sequence[Pair], trials: Sequence[Trial]) -> np.ndarray:
        """(n,) what is taken off the logarithm of an improvement."""
        prices = MEASURING + self._training_cost(pairs, trials)
        found: np.ndarray = self.cooling(trials) * np.log(prices)
        return found

    def cooling(self, trials: Sequence[Trial]) -> float:
        if self._budget is None:
            return 1.0
        spent = sum(trial.training_cost for trial in trials)
        return max(0.0, 1.0 - spent / self._budget)

    def draw(
        self, pairs: Sequence[Pair], trials: Sequence[Trial], rng: np.random.Generator
    ) -> Pair:
        """One by chance; half as dear, twice as likely."""
        odds = np.exp(-self.discount(pairs, trials))
        return pairs[int(rng.choice(len(pairs), p=odds / odds.sum()))]
