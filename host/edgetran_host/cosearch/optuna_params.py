"""A pair as parameters of an Optuna trial, and back: every pair of a space has its own.

Names are `board`, `layers`, and of each layer from 0 `layer0.hidden`, `.heads` (how many),
`.stack` (how deep the feed-forward stack is), `.width0` and so on, and a weight for each kind
of head. Weights that do not add up to the number of heads stand for proportions, so whatever
a sampler draws is a pair of the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from edgetran_host.cosearch.layer_changes import resized, shaped
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace

Params = dict[str, Any]


def distributions(product: ProductSpace) -> dict[str, BaseDistribution]:
    """Of every parameter that some pair has; a parameter comes after those it depends on."""
    found: dict[str, BaseDistribution] = {
        "board": CategoricalDistribution([place.id for place in product.places]),
        "layers": CategoricalDistribution(product.space.layer_counts),
    }
    for at in range(product.space.layer_counts[-1]):
        found |= _of_layer(f"layer{at}", product.space)
    return found


def suggest_pair(trial: optuna.Trial, product: ProductSpace) -> Pair:
    """Asks the trial only for parameters that its pair has."""
    params: Params = {}
    for name, distribution in distributions(product).items():
        if not _has(params, name):
            continue
        if isinstance(distribution, IntDistribution):
            params[name] = trial.suggest_int(name, distribution.low, distribution.high)
        elif isinstance(distribution, CategoricalDistribution):
            params[name] = trial.suggest_categorical(name, distribution.choices)
    return from_params(params, product)


def to_params(pair: Pair, product: ProductSpace) -> Params:
    layers = pair.architecture.layers
    found: Params = {"board": pair.place.id, "layers": len(layers)}
    for at, layer in enumerate(layers):
        name = f"layer{at}"
        found |= {f"{name}.hidden": layer.hidden, f"{name}.heads": len(layer.heads)}
        found |= {f"{name}.{kind}": layer.heads.count(kind) for kind in product.space.head_kinds}
        found[f"{name}.stack"] = len(layer.feed_forward)
        found |= {f"{name}.width{one}": width for one, width in enumerate(layer.feed_forward)}
    return found


def from_params(params: Mapping[str, Any], product: ProductSpace) -> Pair:
    """Raises KeyError for parameters that are none of a pair."""
    places = {place.id: place for place in product.places}
    layers = (_layer(params, f"layer{at}", product.space) for at in range(params["layers"]))
    return Pair(Architecture(tuple(layers)), places[params["board"]])


def _of_layer(name: str, space: DesignSpace) -> dict[str, BaseDistribution]:
    weight = IntDistribution(0, space.head_counts[-1])
    found: dict[str, BaseDistribution] = {
        f"{name}.hidden": CategoricalDistribution(space.hidden_sizes),
        f"{name}.heads": CategoricalDistribution(space.head_counts),
    }
    found |= {f"{name}.{kind}": weight for kind in space.head_kinds}
    found[f"{name}.stack"] = CategoricalDistribution(space.feed_forward_depths)
    widths = CategoricalDistribution(space.feed_forward_widths)
    return found | {f"{name}.width{at}": widths for at in range(space.feed_forward_depths[-1])}


def _has(params: Params, name: str) -> bool:
    """Whether a pair that began with `params` goes on with `name`."""
    layer, _, part = name.partition(".")
    if not part:
        return True
    if int(layer.removeprefix("layer")) >= params["layers"]:
        return False
    return not part.startswith("width") or int(part[5:]) < params[f"{layer}.stack"]


def _layer(params: Mapping[str, Any], name: str, space: DesignSpace) -> Layer:
    """No weight at all: heads of the first kind."""
    kinds = [kind for kind in space.head_kinds for _ in range(params[f"{name}.{kind}"])]
    heads = resized(kinds or space.head_kinds[:1], params[f"{name}.heads"])
    widths = [params[f"{name}.width{at}"] for at in range(params[f"{name}.stack"])]
    return shaped(space, params[f"{name}.hidden"], heads, widths)
