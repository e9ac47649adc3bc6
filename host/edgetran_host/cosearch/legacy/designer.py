"""The published co-search as a `Designer`, to compare with.

A round fits the surrogate, descends from random pairs, and asks for the nearest of a hundred
random candidates, by the mean difference of indices plus that of the board's bits. As published
it draws layers independently, takes indices as they are, knows no limits and does not
explore; alpha and beta are open all the same. Other than published, the queries of a round are
distinct (all of them fell together), and all values are on one scale.
Source: the method's specification, sections 7.1 to 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.legacy.gobi import descend
from edgetran_host.cosearch.legacy.performance import performance
from edgetran_host.cosearch.legacy.surrogate import Surrogate
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.embedding import embed, index_limits

STARTS = 20  # random pairs before the first round
QUERIES = 5  # a round, each descended from a random pair
CANDIDATES = 100  # to snap to


class LegacyBoshcode(Designer):
    def __init__(
        self,
        product: ProductSpace,
        seed: int,
        *,
        starts: int = STARTS,
        value: Callable[[Trial], float] = performance,
        alpha: float = 0.0,
        beta: float = 0.0,
    ) -> None:
        """value: what is maximised, within 0 and 1. alpha, beta: shares of queries where the
        student is least sure, and of random ones."""
        super().__init__(seed)
        self._product = product
        self._first = max(1, starts)
        self._value = value
        self._alpha, self._beta = alpha, beta
        self._surrogate: Surrogate | None = None
        self._fitted = 0  # trials of the last fit

    def _suggest(self, rng: np.random.Generator) -> Pair | None:
        candidates = [pair for pair in self._draw(rng, CANDIDATES) if pair not in self.taken()]
        if not candidates:
            return None
        if len(self.trials) < self._first or rng.random() < self._beta:
            return candidates[0]
        surrogate = self._fit()
        design, place = self._rows(candidates)
        if rng.random() < self._alpha:
            with torch.no_grad():
                return candidates[int(surrogate.student(design, place).argmax())]
        end = self._descended(surrogate, self._draw(rng, 1), int(rng.integers(2**31)))
        width = design.shape[1]
        far = (design - end[:width]).abs().mean(dim=1) + (place - end[width:]).abs().mean(dim=1)
        return candidates[int(far.argmin())]

    def _fit(self) -> Surrogate:
        """Every QUERIES trials, by all of them in turn: a resumed search fits alike."""
        due = self._first + (len(self.trials) - self._first) // QUERIES * QUERIES
        surrogate = self._surrogate or self._new()
        for count in range(
            self._fitted + QUERIES if self._fitted else self._first, due + 1, QUERIES
        ):
            known = self.trials[:count]
            design, place = self._rows([trial.pair for trial in known])
            y = torch.tensor([1 - self._value(trial) for trial in known], dtype=torch.float32)
            surrogate.fit(design, place, y, seed=count)
            self._fitted = count
        self._surrogate = surrogate
        return surrogate

    def _new(self) -> Surrogate:
        return Surrogate(self._product.space.embedding_length, len(self._product.places), self.seed)

    def _descended(self, surrogate: Surrogate, start: Sequence[Pair], seed: int) -> torch.Tensor:
        design, place = self._rows(start)
        width = design.shape[1]
        highest = torch.tensor(index_limits(self._product.space), dtype=torch.float32) - 1
        high = torch.cat([highest, torch.ones(place.shape[1])])

        def value(x: torch.Tensor) -> torch.Tensor:
            return surrogate.acquisition(x[None, :width], x[None, width:])[0]

        return descend(value, torch.cat([design[0], place[0]]), torch.zeros_like(high), high, seed)

    def _draw(self, rng: np.random.Generator, count: int) -> list[Pair]:
        return self._product.sample(rng, count, tied=False)

    def _rows(self, pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, d) indices, (n, p) one-hot boards."""
        designs = [embed(pair.architecture, self._product.space) for pair in pairs]
        numbers = [self._product.places.index(pair.place) for pair in pairs]
        boards = torch.eye(len(self._product.places))[numbers]
        return torch.tensor(designs, dtype=torch.float32), boards
