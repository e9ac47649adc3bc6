"""Which choices matter: how much each moves what the models of a search foretell.

For a choice c, of pairs A and B drawn from the space, A' is A with c as B has it, and

    importance = E (f(A') - f(A))^2 / (2 Var f)

the total effect of c on f (Jansen's estimator), which is half the permutation importance on
fresh pairs. It is asked of the models over the whole space, because trials crowd where the search
looked, and fANOVA on them (Optuna's dashboard has it) answers for there. Shares of different
choices add up to more than one where choices act together. Intervals are over draws of the models.
Source: Saltelli et al., "Variance based sensitivity analysis of model output" (2010).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.cosearch.joint_draws import draw_together
from edgetran_host.cosearch.layer_changes import resized, restacked, shaped
from edgetran_host.cosearch.outputs import OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.sensitivity import Spread, spread_of
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace

PAIRS = 48  # A; each with every choice of B
DRAWS = 48
TARGETS = ("score", "latency_s", "energy_j", "value")

Change = Callable[[Layer, Layer, DesignSpace], Layer]

OF_LAYERS: dict[str, Change] = {
    "hidden size": lambda one, other, space: shaped(
        space, other.hidden, one.heads, one.feed_forward
    ),
    "number of heads": lambda one, other, space: shaped(
        space, one.hidden, resized(one.heads, len(other.heads)), one.feed_forward
    ),
    "kinds of heads": lambda one, other, space: shaped(
        space, one.hidden, resized(other.heads, len(one.heads)), one.feed_forward
    ),
    "feed-forward widths": lambda one, other, space: replace(
        one, feed_forward=restacked(other.feed_forward, len(one.feed_forward))
    ),
    "matrices a stack": lambda one, other, space: replace(
        one, feed_forward=restacked(one.feed_forward, len(other.feed_forward))
    ),
}


@dataclass(frozen=True)
class Importance:
    choice: str
    shares: dict[str, Spread]  # by TARGETS, of what the models know


def importances(
    models: OutputModels, product: ProductSpace, rng: np.random.Generator
) -> list[Importance]:
    ours = product.sample(rng, PAIRS, tied=False)
    ours[::2] = product.sample(rng, len(ours[::2]), tied=True)
    theirs = product.sample(rng, PAIRS, tied=False)
    theirs[::2] = product.sample(rng, len(theirs[::2]), tied=True)
    changed = {
        name: [exchanged(name, one, other, product.space) for one, other in zip(ours, theirs)]
        for name in ("board", "layers", *OF_LAYERS)
    }
    pairs = [*ours, *(pair for group in changed.values() for pair in group)]
    scores, costs = draw_together(models, pairs, DRAWS, rng)
    values = models.goal.values([pair.place for pair in pairs], scores, costs)
    drawn = {"score": scores, "value": values}
    drawn |= {"latency_s": np.log(costs[..., 0]), "energy_j": np.log(costs[..., 1])}
    told = {*models.told, "value"}
    known = {name: drawn[name] for name in TARGETS if name in told and _known(drawn[name])}
    return [
        Importance(name, {target: _share(one, at) for target, one in known.items()})
        for at, name in enumerate(changed, 1)
    ]


def exchanged(choice: str, one: Pair, other: Pair, space: DesignSpace) -> Pair:
    """`one` with a choice as `other` has it; layers by relative depth."""
    if choice == "board":
        return replace(one, place=other.place)
    layers, theirs = one.architecture.layers, other.architecture.layers
    if choice == "layers":
        kept = tuple(layers[at * len(layers) // len(theirs)] for at in range(len(theirs)))
        return replace(one, architecture=Architecture(kept))
    change = OF_LAYERS[choice]
    changed = tuple(
        change(layer, theirs[at * len(theirs) // len(layers)], space)
        for at, layer in enumerate(layers)
    )
    return replace(one, architecture=Architecture(changed))


def _share(drawn: np.ndarray, at: int) -> Spread:
    """drawn (s, (1 + choices) PAIRS); the at-th choice."""
    base, moved = drawn[:, :PAIRS], drawn[:, at * PAIRS : (at + 1) * PAIRS]
    variance = drawn.var(axis=1)
    effect = ((moved - base) ** 2).mean(axis=1) / 2
    return spread_of(effect / np.where(variance > 0, variance, 1.0))


def _known(drawn: np.ndarray) -> bool:
    return bool(np.isfinite(drawn).all())
