"""Draws architectures from a design space; the same generator draws the same ones.

`hierarchical` tosses a coin whether the architecture stays narrow, then draws for every
layer the number of heads, how many kinds they mix, and the depth of the stack.
The other methods spread points over the indices of the embedding, where 85 % of the
head sets have 12 heads: low-discrepancy samples therefore come half from the narrow
head sets (fewer than 8 heads) and half from the wide ones.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
from edgetran_protos.errors import UsageError
from numpy.typing import NDArray

from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.embedding import decode, head_offset, index_limits, nearest_valid

WIDE_FROM = 8  # heads in a layer
DEEP_FROM = 8  # layers

Rng = np.random.Generator
Unit = NDArray[np.float64]


def sample(
    space: DesignSpace, count: int, rng: Rng, method: str = "hierarchical"
) -> list[Architecture]:
    """`count` architectures; repeats are possible, and likely only in tiny spaces."""
    if method not in METHODS:
        raise UsageError(
            f"there is no sampling method {method!r}", hint=f"use {', '.join(METHODS)}"
        )
    if count < 0:
        raise UsageError(f"cannot draw {count} architectures")
    return METHODS[method](space, count, rng)


def is_wide(architecture: Architecture) -> bool:
    return max(len(layer.heads) for layer in architecture.layers) >= WIDE_FROM


def is_deep(architecture: Architecture) -> bool:
    return len(architecture.layers) >= DEEP_FROM


def _hierarchical(space: DesignSpace, count: int, rng: Rng) -> list[Architecture]:
    return [_draw(space, rng) for _ in range(count)]


def _draw(space: DesignSpace, rng: Rng) -> Architecture:
    narrow = [heads for heads in space.head_counts if heads < WIDE_FROM]
    head_counts = narrow if narrow and rng.random() < 0.5 else list(space.head_counts)
    layers = int(rng.choice(space.layer_counts))
    return Architecture(tuple(_draw_layer(space, head_counts, rng) for _ in range(layers)))


def _draw_layer(space: DesignSpace, head_counts: list[int], rng: Rng) -> Layer:
    hidden = int(rng.choice(space.hidden_sizes))
    heads = _draw_heads(space, int(rng.choice(head_counts)), rng)
    depth = int(rng.choice(space.feed_forward_depths))
    stack = tuple(int(width) for width in rng.choice(space.feed_forward_widths, depth))
    return Layer(hidden, heads, space.head_size(hidden, len(heads)), stack)


def _draw_heads(space: DesignSpace, count: int, rng: Rng) -> tuple[str, ...]:
    """How many kinds, which ones, then every split of the heads among them alike."""
    kinds = int(rng.integers(1, min(count, len(space.head_kinds)) + 1))
    chosen = np.sort(rng.choice(len(space.head_kinds), kinds, replace=False))
    cuts = np.sort(rng.choice(np.arange(1, count), kinds - 1, replace=False))
    shares = np.diff([0, *cuts, count])
    return tuple(space.head_kinds[kind] for kind in np.repeat(chosen, shares))


def _uniform(space: DesignSpace, count: int, rng: Rng) -> list[Architecture]:
    limits = index_limits(space)
    return [
        decode(nearest_valid(row, space), space)
        for row in rng.integers(0, limits, size=(count, len(limits)))
    ]


def _sobol(space: DesignSpace, count: int, rng: Rng) -> list[Architecture]:
    def points(rows: int, columns: int) -> Unit:
        power = max(rows - 1, 0).bit_length()  # Sobol points are balanced in powers of two
        drawn: Unit = _quasi_monte_carlo().Sobol(columns, seed=rng).random_base2(power)
        return drawn[:rows]

    return _narrow_and_wide(space, count, points)


def _lhs(space: DesignSpace, count: int, rng: Rng) -> list[Architecture]:
    def points(rows: int, columns: int) -> Unit:
        drawn: Unit = _quasi_monte_carlo().LatinHypercube(columns, seed=rng).random(rows)
        return drawn

    return _narrow_and_wide(space, count, points)


def _quasi_monte_carlo() -> ModuleType:
    """SciPy's module, which only the training extra brings."""
    try:
        from scipy.stats import qmc
    except ImportError as exc:
        raise UsageError(
            f"this sampling method needs SciPy: {exc}",
            hint="pip install 'edgetran-host[train]', or sample 'hierarchical' or 'uniform'",
        ) from exc
    module: ModuleType = qmc
    return module


def _narrow_and_wide(
    space: DesignSpace, count: int, points: Callable[[int, int], Unit]
) -> list[Architecture]:
    """Narrow and wide by turns; points(rows, columns) lie in [0, 1)."""
    boundary = head_offset(WIDE_FROM, space)
    total = space.head_set_count
    ranges = [(low, high) for low, high in ((0, boundary), (boundary, total)) if low < high]
    found: list[Architecture | None] = [None] * count
    for turn, (low, high) in enumerate(ranges):
        places = range(turn, count, len(ranges))
        rows = _indices(space, points(len(places), space.embedding_length), low, high)
        for place, row in zip(places, rows):
            found[place] = decode(nearest_valid(row, space), space)
    return [architecture for architecture in found if architecture is not None]


def _indices(space: DesignSpace, points: Unit, low: int, high: int) -> NDArray[np.int64]:
    """points (rows, columns) in [0, 1) -> embeddings whose head sets lie in low..high-1."""
    lows = np.zeros(space.embedding_length)
    highs = np.array(index_limits(space), dtype=float)
    lows[3::3], highs[3::3] = low, high
    scaled: NDArray[np.int64] = np.floor(lows + points * (highs - lows)).astype(np.int64)
    return scaled


METHODS: dict[str, Callable[[DesignSpace, int, Rng], list[Architecture]]] = {
    "hierarchical": _hierarchical,
    "sobol": _sobol,
    "lhs": _lhs,
    "uniform": _uniform,
}
