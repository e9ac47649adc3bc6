"""Small steps between pairs, each of which ends in the space it began in.

A change is drawn once and applied to one layer, to a run of neighbouring layers, or to
all: what is changed alike in many layers shows in the costs, what is drawn anew for each
averages out. Layers are added by repeating one and dropped anywhere; two pairs cross at
equal relative depth.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgetran_host.cosearch.layer_changes import draw_change, resized, restacked, shaped
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.design_space import DesignSpace

Rng = np.random.Generator

TRIES = 20  # draws a wanted neighbour, before a space counts as exhausted
SCOPES = {"one": 0.3, "run": 0.3, "all": 0.4}  # of layers that change alike
MOVES = {"layers": 0.75, "depth": 0.12, "place": 0.13}  # shares of the steps


def neighbours(pair: Pair, space: ProductSpace, rng: Rng, count: int) -> list[Pair]:
    """`count` different pairs one step away, fewer where the space has no more."""
    found: dict[Pair, None] = {}
    for _ in range(count * TRIES):
        if len(found) == count:
            break
        moved = step(pair, space, rng)
        if moved != pair:
            found[moved] = None
    return list(found)


def step(pair: Pair, space: ProductSpace, rng: Rng, scope: str = "") -> Pair:
    """One move; the pair itself where what was drawn has nowhere to go.

    scope: "one", "run" or "all" of the layers change; "": drawn.
    """
    kind = rng.choice(list(MOVES), p=list(MOVES.values()))
    if kind == "place" and len(space.places) > 1:
        return move(pair, space, rng)
    if kind == "depth":
        return replace(pair, architecture=change_depth(pair.architecture, space.space, rng))
    return replace(pair, architecture=change_layers(pair.architecture, space.space, rng, scope))


def move(pair: Pair, space: ProductSpace, rng: Rng) -> Pair:
    """To any other place; there must be one."""
    others = [place for place in space.places if place != pair.place]
    return replace(pair, place=others[int(rng.integers(len(others)))])


def change_layers(
    architecture: Architecture, space: DesignSpace, rng: Rng, scope: str = ""
) -> Architecture:
    """One change, the same for all layers in its scope."""
    layers = architecture.layers
    scope = scope or str(rng.choice(list(SCOPES), p=list(SCOPES.values())))
    start, stop = _range(len(layers), scope, rng)
    change = draw_change(layers[int(rng.integers(start, stop))], space, rng)
    changed = [change(layer) if start <= at < stop else layer for at, layer in enumerate(layers)]
    return Architecture(tuple(changed))


def change_depth(architecture: Architecture, space: DesignSpace, rng: Rng) -> Architecture:
    """The next or the last allowed number of layers: some repeated, or some dropped."""
    counts = space.layer_counts
    at = counts.index(len(architecture.layers))
    allowed = [near for near in (at - 1, at + 1) if 0 <= near < len(counts)]
    if not allowed:
        return architecture
    target = counts[allowed[rng.integers(len(allowed))]]
    layers = list(architecture.layers)
    while len(layers) < target:
        place = int(rng.integers(len(layers)))
        layers.insert(place, layers[place])
    while len(layers) > target:
        del layers[int(rng.integers(len(layers)))]
    return Architecture(tuple(layers))


def cross(one: Pair, other: Pair, rng: Rng) -> Pair:
    """As deep as `one`; each layer of either, from the same relative depth of it."""
    depth, theirs = len(one.architecture.layers), other.architecture.layers
    cut = int(rng.integers(1, depth)) if depth > 1 else 1
    turned = bool(rng.random() < 0.5)
    layers = tuple(
        theirs[at * len(theirs) // depth] if (at >= cut) != turned else layer
        for at, layer in enumerate(one.architecture.layers)
    )
    return Pair(Architecture(layers), (one if rng.random() < 0.5 else other).place)


def tie(architecture: Architecture) -> Architecture:
    """All layers like the commonest of them, the first of those that are equally common."""
    ((commonest, _),) = Counter(architecture.layers).most_common(1)
    return Architecture((commonest,) * len(architecture.layers))


def repair(architecture: Architecture, space: DesignSpace) -> Architecture:
    """The nearest of the space, by ratio of sizes; one that is in it stays as it is."""
    layers = architecture.layers
    count = _nearest(len(layers), space.layer_counts)
    kept = [layers[at * len(layers) // count] for at in range(count)]
    return Architecture(tuple(_repair_layer(layer, space) for layer in kept))


def _repair_layer(layer: Layer, space: DesignSpace) -> Layer:
    kinds = [kind if kind in space.head_kinds else space.head_kinds[0] for kind in layer.heads]
    heads = resized(sorted(kinds, key=HEAD_KINDS.index), _nearest(len(kinds), space.head_counts))
    depth = _nearest(len(layer.feed_forward), space.feed_forward_depths)
    stack = restacked(layer.feed_forward, depth)
    widths = [_nearest(width, space.feed_forward_widths) for width in stack]
    return shaped(space, _nearest(layer.hidden, space.hidden_sizes), heads, widths)


def _nearest(value: int, allowed: Sequence[int]) -> int:
    return min(allowed, key=lambda one: abs(math.log(one / value)))


def _range(count: int, scope: str, rng: Rng) -> tuple[int, int]:
    """First layer and the one after the last."""
    if scope == "all" or count == 1:
        return 0, count
    length = 1 if scope == "one" else int(rng.integers(2, count + 1))
    start = int(rng.integers(0, count - length + 1))
    return start, start + length
