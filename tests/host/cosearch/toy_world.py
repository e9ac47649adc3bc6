"""A world small enough to search in a test: what pairs give here, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.goal import Goal, Limits
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.surrogates.terms import architecture_terms, total_flops

PLACES = (Place("rpi4:cpu"), Place("a100:gpu"), Place("home-made"))
RATES = dict(zip(PLACES, (6e9, 3e12, 2e10)))
WATTS = dict(zip(PLACES, (5.0, 120.0, None)))  # the last has no sensor
SPACE = DesignSpace(
    name="toy",
    layer_counts=(2, 4, 6),
    hidden_sizes=(128, 256, 512),
    head_counts=(2, 4, 8),
    head_kinds=("sa_sdp", "l_dct", "c_9"),
    feed_forward_widths=(256, 1024, 2048),
    feed_forward_depths=(1, 2),
)
PRODUCT = ProductSpace(SPACE, PLACES)


def outcome_of(pair: Pair) -> Outcome:
    """Half attention, half convolution is best; more width helps less and less."""
    layers = pair.architecture.layers
    worth = 0.0
    for layer in layers:
        attention = layer.heads.count("sa_sdp") / len(layer.heads)
        convolution = layer.heads.count("c_9") / len(layer.heads)
        worth += (0.3 + attention * convolution * 4) * np.log2(layer.hidden / 64)
    terms = architecture_terms(pair.architecture)
    latency = 0.002 + total_flops(terms) / RATES[pair.place] + 1e-4 * terms["matrices"]
    watts = WATTS[pair.place]
    return Outcome(
        score=0.6 + 0.3 * (1 - float(np.exp(-worth / 5))),
        latency_s=latency,
        energy_j=None if watts is None else watts * latency,
        peak_power_w=None if watts is None else 1.5 * watts,
        size_bytes=4 * (terms["layer_parameters"] + terms["embedding_parameters"]),
    )


def toy_goal(limits: Limits | None = None) -> Goal:
    middle = PRODUCT.sample(np.random.default_rng(0), 1, tied=True)[0].architecture
    references = {place: outcome_of(Pair(middle, place)) for place in PLACES}
    return Goal(references, score_scale=0.05, limits=limits or Limits())


def try_pairs(pairs: Sequence[Pair]) -> list[Trial]:
    return [Trial(pair, outcome_of(pair)) for pair in pairs]


def search(designer: Designer, count: int) -> list[Trial]:
    for _ in range(count):
        designer.update(try_pairs(designer.suggest(1)))
    return designer.trials
