"""The first pairs of a search whose trainings have a price: relatives instead of strangers.

The first is one block repeated. Each later one changes the block of one before it in all
layers alike, and is, of so many that are drawn, the farthest from all before it for its
price: what is learnt a training is the most there. Boards take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.cosearch.moves import step
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.pricing import Pricing
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.cosearch.starting import starting_pairs

DRAWN = 48  # steps, of which one is taken
TRAINED = Outcome(0.0, 1.0, None, None, 1.0)  # a score is all that inheriting asks for


def lineage_pairs(
    product: ProductSpace,
    features: ArchitectureFeatures,
    pricing: Pricing,
    count: int,
    seed: int,
) -> list[Pair]:
    """`count` pairs of different designs, fewer where steps find no more."""
    rng = np.random.default_rng([seed, DRAWN])
    found = starting_pairs(product, min(count, 1), seed)
    while 0 < len(found) < count:
        place = product.places[len(found) % len(product.places)]
        near = [Pair(pair.architecture, place) for pair in _steps(found, product, rng)]
        if not near:
            break
        far = _distances(features, near, found)
        supposed = [Trial(pair, TRAINED, 0.0) for pair in found]  # nothing is spent yet
        worth = np.log(np.maximum(far, 1e-9)) - pricing.discount(near, supposed)
        found.append(near[int(worth.argmax())])
    return found


def _steps(found: Sequence[Pair], product: ProductSpace, rng: np.random.Generator) -> list[Pair]:
    """To tied designs that are not there yet."""
    drawn = [step(found[int(rng.integers(len(found)))], product, rng, "all") for _ in range(DRAWN)]
    known = {pair.architecture for pair in found}
    return [
        pair
        for pair in drawn
        if pair.architecture not in known and len(set(pair.architecture.layers)) == 1
    ]


def _distances(
    features: ArchitectureFeatures, near: Sequence[Pair], found: Sequence[Pair]
) -> np.ndarray:
    """(n,) of each to the nearest that is found."""
    one, other = (features.rows([pair.architecture for pair in some]) for some in (near, found))
    apart: np.ndarray = np.sqrt(((one[:, None] - other[None]) ** 2).mean(axis=2)).min(axis=1)
    return apart
