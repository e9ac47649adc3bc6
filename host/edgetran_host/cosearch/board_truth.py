"""An assumed truth of what designs cost on boards, as plain arrays.

    y = max(least, constant + costs . x + cliff_cost max(0, M - cliff_bytes))

for each of b boards and m measures: latency (s), energy (J), peak power (W). x are the k
terms of `surrogates.terms`, M the bytes that the weights fill. It is a surrogate's cost model
without what belongs to a campaign: polling, drift, residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.space.architecture import Architecture
from edgetran_host.surrogates.rows import MEASURES
from edgetran_host.surrogates.surrogate import Surrogate
from edgetran_host.surrogates.terms import architecture_terms, memory_bytes


@dataclass(frozen=True)
class BoardTruth:
    boards: tuple[str, ...]
    terms: tuple[str, ...]
    constant: np.ndarray  # (b, m)
    costs: np.ndarray  # (b, m, k)
    least: np.ndarray  # (b, m)
    cliff_bytes: np.ndarray  # (b, m)
    cliff_cost: np.ndarray  # (b, m) a byte above

    def values(self, architectures: Sequence[Architecture], boards: Sequence[str]) -> np.ndarray:
        """(n, 4): latency, energy, peak power, and the bytes of the weights."""
        found = [architecture_terms(one) for one in architectures]
        x = np.array([[one[name] for name in self.terms] for one in found]).reshape(len(found), -1)
        memory = np.array([memory_bytes(one) for one in found])[:, None]
        at = [self.boards.index(board) for board in boards]
        above = np.maximum(0.0, memory - self.cliff_bytes[at])
        work = np.einsum("nmk,nk->nm", self.costs[at], x)
        values = self.constant[at] + work + self.cliff_cost[at] * above
        return np.hstack([np.maximum(values, self.least[at]), memory])


def truth_of(surrogates: dict[str, Surrogate]) -> BoardTruth:
    """Of fitted surrogates by board; all must have the same terms and every measure."""
    names = next(iter(surrogates.values())).names
    models = [[one.measures[name].model for name in MEASURES] for one in surrogates.values()]
    return BoardTruth(
        boards=tuple(surrogates),
        terms=names,
        constant=np.array([[model.constant for model in row] for row in models]),
        costs=np.array([[model.costs for model in row] for row in models]),
        least=np.array([[model.least for model in row] for row in models]),
        cliff_bytes=np.array([[model.cliff_bytes for model in row] for row in models]),
        cliff_cost=np.array([[model.cliff_cost for model in row] for row in models]),
    )
