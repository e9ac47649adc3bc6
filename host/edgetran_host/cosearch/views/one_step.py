"""What the models of a search think of one more step from a pair, in each direction.

A step changes all layers alike: the next smaller or larger size, one layer more or less, one
kind of head for another, another board. Each is told as its difference from the pair, drawn
together with it, since like pairs are off alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.cosearch.goal import COSTS
from edgetran_host.cosearch.joint_draws import draw_together
from edgetran_host.cosearch.layer_changes import resized, restacked, shaped
from edgetran_host.cosearch.outputs import OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.sensitivity import Spread, spread_of
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace

DRAWS = 400


@dataclass(frozen=True)
class Step:
    """Differences from the pair that it starts at."""

    direction: str
    pair: Pair
    score: Spread
    costs: dict[str, Spread]  # factors, by COSTS; what the models do not know is left out
    value: Spread  # of J
    keeps: float  # share of draws in which it keeps all limits


def one_step(
    models: OutputModels, product: ProductSpace, pair: Pair, rng: np.random.Generator
) -> list[Step]:
    """The best expected first."""
    found = dict(directions(pair, product))
    pairs = [pair, *found.values()]
    scores, costs = draw_together(models, pairs, DRAWS, rng)
    values = models.goal.values([one.place for one in pairs], scores, costs)
    kept = (models.goal.excess(costs) <= 0).all(axis=-1).mean(axis=0)
    steps = []
    for at, (direction, moved) in enumerate(found.items(), 1):
        factors = costs[:, at] / costs[:, 0]  # (s, 4)
        known = np.isfinite(factors).all(axis=0)
        steps.append(
            Step(
                direction,
                moved,
                spread_of(scores[:, at] - scores[:, 0]),
                {name: spread_of(factors[:, c]) for c, name in enumerate(COSTS) if known[c]},
                spread_of(values[:, at] - values[:, 0]),
                float(kept[at]),
            )
        )
    return sorted(steps, key=lambda step: -step.value.mean)


def directions(pair: Pair, product: ProductSpace) -> Iterator[tuple[str, Pair]]:
    """All that stay in the space and change something, each under its name."""
    space, layers = product.space, pair.architecture.layers
    for name, changed in _of_layers(layers, space):
        if changed != layers:
            yield name, replace(pair, architecture=Architecture(changed))
    counts = space.layer_counts
    for near in (-1, 1):
        at = counts.index(len(layers)) + near
        if 0 <= at < len(counts):
            kept = tuple(layers[one * len(layers) // counts[at]] for one in range(counts[at]))
            yield f"{counts[at]} layers", replace(pair, architecture=Architecture(kept))
    for place in product.places:
        if place != pair.place:
            yield f"on {place.id}", replace(pair, place=place)


def _of_layers(
    layers: Sequence[Layer], space: DesignSpace
) -> Iterator[tuple[str, tuple[Layer, ...]]]:
    for near, word in ((-1, "narrower"), (1, "wider")):

        def beside(value: int, allowed: Sequence[int], near: int = near) -> int:
            at = list(allowed).index(value) + near
            return allowed[min(max(at, 0), len(allowed) - 1)]

        yield (
            f"hidden {word}",
            tuple(
                shaped(space, beside(one.hidden, space.hidden_sizes), one.heads, one.feed_forward)
                for one in layers
            ),
        )
        yield (
            f"feed-forward {word}",
            tuple(
                replace(
                    one,
                    feed_forward=tuple(
                        beside(w, space.feed_forward_widths) for w in one.feed_forward
                    ),
                )
                for one in layers
            ),
        )
        more = "fewer" if near < 0 else "more"
        yield (
            f"{more} heads",
            tuple(
                shaped(
                    space,
                    one.hidden,
                    resized(one.heads, beside(len(one.heads), space.head_counts)),
                    one.feed_forward,
                )
                for one in layers
            ),
        )
        yield (
            f"{more} matrices a stack",
            tuple(
                replace(
                    one,
                    feed_forward=restacked(
                        one.feed_forward, beside(len(one.feed_forward), space.feed_forward_depths)
                    ),
                )
                for one in layers
            ),
        )
    for kind in space.head_kinds:
        yield f"one head {kind}", tuple(_one_head(one, kind, space) for one in layers)


def _one_head(layer: Layer, kind: str, space: DesignSpace) -> Layer:
    """Of the commonest other kind one becomes `kind`."""
    others = [one for one in layer.heads if one != kind]
    if not others:
        return layer
    heads = list(layer.heads)
    heads[heads.index(max(others, key=others.count))] = kind
    return shaped(space, layer.hidden, heads, layer.feed_forward)
