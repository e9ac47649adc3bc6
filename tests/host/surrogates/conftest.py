"""Boards whose costs are known, since we made them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.rows import Rows, rows_of
from edgetran_host.surrogates.surrogate import Surrogate, fit_surrogate
from edgetran_host.surrogates.terms import architecture_terms

COSTS = {"feed_forward_flops": 2e-9, "embedding_parameters": 1e-8, "c_9_heads": 0.05}
CONSTANT_S = 1.5
MEAN_W, PEAK_W = 3.0, 4.5

MakeRows = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    def make(count: int, seed: int = 0, noise: float = 0.01) -> list[dict[str, Any]]:
        """Published rows of a board with COSTS; noise in logarithms."""
        rng = np.random.default_rng(seed)
        rows = []
        for order, architecture in enumerate(sample(DesignSpace.flexibert2(), count, rng)):
            terms = architecture_terms(architecture)
            latency = CONSTANT_S + sum(cost * terms[name] for name, cost in COSTS.items())
            latency *= float(np.exp(noise * rng.normal()))
            rows.append(
                {
                    "architecture": architecture.to_dict(),
                    "latency_s": latency,
                    "energy_j": MEAN_W * latency * float(np.exp(noise * rng.normal())),
                    "peak_power_w": PEAK_W * float(np.exp(0.1 * rng.normal())),
                    "batch_size": 1,
                    "runs": 1,
                    "order": order,
                }
            )
        return rows

    return make


@pytest.fixture(scope="session")
def rows(make_rows: MakeRows) -> Rows:
    return rows_of([("board", make_rows(28))])


@pytest.fixture(scope="session")
def surrogate(rows: Rows) -> Surrogate:
    return fit_surrogate(rows)
