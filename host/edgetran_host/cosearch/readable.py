"""A pair as a few numbers that people and Optuna's plots can read; its layers are averaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace


def parameters(pair: Pair, product: ProductSpace) -> dict[str, str | int | float]:
    """feed_forward: neurons a matrix; stack: matrices; a kind of head: its share of the heads."""
    layers = pair.architecture.layers
    kinds = [kind for layer in layers for kind in layer.heads]
    return {
        "board": pair.place.id,
        "layers": len(layers),
        "hidden": fmean(layer.hidden for layer in layers),
        "heads": fmean(len(layer.heads) for layer in layers),
        "feed_forward": fmean(width for layer in layers for width in layer.feed_forward),
        "stack": fmean(len(layer.feed_forward) for layer in layers),
        **{kind: kinds.count(kind) / len(kinds) for kind in product.space.head_kinds},
    }


def distributions(product: ProductSpace) -> dict[str, BaseDistribution]:
    """Of `parameters`, alike for all pairs of the space."""
    space = product.space

    def between(values: tuple[int, ...]) -> BaseDistribution:
        return FloatDistribution(values[0], values[-1])

    return {
        "board": CategoricalDistribution([place.id for place in product.places]),
        "layers": IntDistribution(space.layer_counts[0], space.layer_counts[-1]),
        "hidden": between(space.hidden_sizes),
        "heads": between(space.head_counts),
        "feed_forward": between(space.feed_forward_widths),
        "stack": between(space.feed_forward_depths),
        **{kind: FloatDistribution(0.0, 1.0) for kind in space.head_kinds},
    }


def summary(pair: Pair) -> str:
    """A line: "6L h256-512 4 heads (sa_sdp 50%, c_9 50%) ff1024x2"."""
    layers = pair.architecture.layers
    kinds = Counter(kind for layer in layers for kind in layer.heads)
    total = kinds.total()
    shares = ", ".join(f"{kind} {count / total:.0%}" for kind, count in kinds.most_common())
    stack = _range([len(layer.feed_forward) for layer in layers])
    deep = "" if stack == "1" else f"x{stack}"
    heads = _range([len(layer.heads) for layer in layers])
    return (
        f"{len(layers)}L h{_range([layer.hidden for layer in layers])} "
        f"{heads} {'head' if heads == '1' else 'heads'} ({shares}) "
        f"ff{_range([width for layer in layers for width in layer.feed_forward])}{deep}"
    )


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"
