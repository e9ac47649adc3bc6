"""The first pairs of a search, before any model: one block repeated, boards in turn.

Designs whose layers are drawn one by one are all alike in the mean; one block repeated
shows what a block is worth. Sobol points spread over depth, size, heads, how two kinds mix,
and the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy.stats import qmc

from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.design_space import DesignSpace

AXES = 8  # depth, hidden, heads, kind, second kind, share of it, width, stack depth
SPREAD = 256  # points a sequence

Choice = TypeVar("Choice", int, str)


def starting_pairs(product: ProductSpace, count: int, seed: int) -> list[Pair]:
    """`count` different pairs, fewer in a space with fewer tied designs."""
    rng = np.random.default_rng([seed, AXES])
    points = qmc.Sobol(AXES, seed=rng).random(max(SPREAD, 1 << count.bit_length()))
    turn = rng.permutation(len(product.places))
    found: dict[Pair, None] = {}
    for point in points:
        if len(found) == count:
            break
        place = product.places[turn[len(found) % len(turn)]]
        found[Pair(_repeated(point, product.space), place)] = None
    return list(found)


def _repeated(point: np.ndarray, space: DesignSpace) -> Architecture:
    """point (axes,) in [0, 1)."""
    hidden = _pick(space.hidden_sizes, point[1])
    count = _pick(space.head_counts, point[2])
    kinds = (_pick(space.head_kinds, point[3]), _pick(space.head_kinds, point[4]))
    second = round(float(point[5]) * count / 2)  # at most half
    heads = [kinds[0]] * (count - second) + [kinds[1]] * second
    width, depth = _pick(space.feed_forward_widths, point[6]), point[7]
    stack = (width,) * _pick(space.feed_forward_depths, depth)
    size = space.head_size(hidden, count)
    layer = Layer(hidden, tuple(sorted(heads, key=HEAD_KINDS.index)), size, stack)
    return Architecture((layer,) * _pick(space.layer_counts, point[0]))


def _pick(values: Sequence[Choice], at: float) -> Choice:
    return values[min(int(at * len(values)), len(values) - 1)]
