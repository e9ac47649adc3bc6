"""A query along the gradient: GOBI on a relaxation of the space, projected to its lattice.

Between the lattice's points lie mixtures: x(w) = x_0 + sum over moves i of w_i (x_i - x_0),
w in [0, 1]^m, where x_0 are the features of a pair and x_i those one move further. L-BFGS, a
second-order method, climbs the acquisition over w; where w_i comes out above a half, move i
is made, one after the other, which is a pair again. It starts from the best climbed pairs.
Source: the method's specification, section 7.2, whose indices were relaxed instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from edgetran_host.cosearch.acquisition import Acquisition
from edgetran_host.cosearch.moves import change_layers
from edgetran_host.cosearch.outputs import Belief, Describer, OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace

Rng = np.random.Generator

MOVES = 16  # m: axes of the relaxation
STARTS = (0.2, 0.5)  # w to begin at
STEPS = 12
DIFFERENCE = 1e-3  # of w, for the gradient
MADE = 0.5


def gradient_queries(
    acquisition: Acquisition,
    models: OutputModels,
    describer: Describer,
    space: DesignSpace,
    starts: Sequence[Pair],
    rng: Rng,
) -> list[Pair]:
    """Pairs of the lattice, some of them perhaps known."""
    found = []
    for pair in starts:
        seeds = [int(seed) for seed in rng.integers(2**31, size=MOVES)]
        moved = [Pair(make(pair.architecture, space, seed), pair.place) for seed in seeds]
        rows = describer.rows([pair, *moved])
        foretold = models.foretold([pair, *moved])
        number = int(describer.numbers([pair])[0])
        for start in STARTS:
            weights = climb_mixture(acquisition, models, pair, rows, foretold, number, start)
            design = pair.architecture
            for seed, weight in zip(seeds, weights):
                design = make(design, space, seed) if weight > MADE else design
            found.append(Pair(design, pair.place))
    return list(dict.fromkeys(found))


def make(architecture: Architecture, space: DesignSpace, seed: int) -> Architecture:
    """A move is the seed that draws it, so that several can be made one after the other."""
    return change_layers(architecture, space, np.random.default_rng(seed))


def climb_mixture(
    acquisition: Acquisition,
    models: OutputModels,
    pair: Pair,
    rows: np.ndarray,
    foretold: Belief,
    number: int,
    start: float,
) -> np.ndarray:
    """rows (1 + m, k) of the pair and its moves, number of its place -> w (m,)."""
    count = len(rows) - 1

    def values(weights: np.ndarray) -> np.ndarray:
        """weights (n, m) -> (n,)"""
        mixed = _mixed(rows, weights)
        told = Belief(_mixed(foretold.mean, weights), _mixed(foretold.deviation, weights))
        belief = models.believe_rows(mixed, np.full(len(mixed), number), told)
        return acquisition.values(belief, [pair.place] * len(mixed))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        """All differences of a gradient are one batch."""
        batch = np.vstack([weights, weights + DIFFERENCE * np.eye(count)])
        found = values(batch)
        return -float(found[0]), -(found[1:] - found[0]) / DIFFERENCE

    result = minimize(
        loss,
        np.full(count, start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * count,
        options={"maxiter": STEPS, "maxfun": 2 * STEPS},
    )
    weights: np.ndarray = result.x
    return weights


def _mixed(ends: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ends (1 + m, k), weights (n, m) -> (n, k)"""
    found: np.ndarray = ends[0] + weights @ (ends[1:] - ends[0])
    return found
