"""One layer as numbers, remembered, since a search meets the same layers again and again.

`exact_terms` adds up what layers cost one by one, to the same sums as
`surrogates.terms.architecture_terms`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.surrogates.terms import (
    ARCHITECTURE_TERMS,
    SEQUENCE_LENGTH,
    architecture_terms,
    total_flops,
)

TERMS = tuple(ARCHITECTURE_TERMS)
TABLES = TERMS.index("embedding_parameters")
WEIGHTS = TERMS.index("layer_parameters")
PRODUCTS = TERMS.index("projection_flops")
CHANGES = TERMS.index("width_changes")
SIZES = ("hidden", "heads", "head size", "stack", "mean width", "stack depth", "flops", "weights")
LAYER_CACHE = 200_000  # of a few hundred bytes


@lru_cache(maxsize=LAYER_CACHE)
def layer_terms(layer: Layer) -> np.ndarray:
    """(terms,) of a network of this layer alone, pooler left out."""
    found = architecture_terms(Architecture((layer,)))
    terms = np.array([found[name] for name in TERMS])
    terms[WEIGHTS] -= _linear(layer.hidden, layer.hidden)
    return terms


@lru_cache(maxsize=LAYER_CACHE)
def layer_sizes(layer: Layer) -> np.ndarray:
    """(8,) logarithms of SIZES."""
    found = dict(zip(TERMS, layer_terms(layer)))
    return np.log(
        [
            layer.hidden,
            len(layer.heads),
            layer.head_size,
            sum(layer.feed_forward),
            sum(layer.feed_forward) / len(layer.feed_forward),
            len(layer.feed_forward),
            total_flops(found),
            found["layer_parameters"],
        ]
    )


@lru_cache(maxsize=LAYER_CACHE)
def layer_shares(layer: Layer) -> np.ndarray:
    """(7,) of the heads by kind, in canonical order."""
    return np.array([layer.heads.count(kind) for kind in HEAD_KINDS]) / len(layer.heads)


def exact_terms(architecture: Architecture) -> np.ndarray:
    """(terms,) in the order of ARCHITECTURE_TERMS."""
    layers = architecture.layers
    return sum_terms(layers, np.array([layer_terms(layer) for layer in layers]))


def sum_terms(layers: Sequence[Layer], each: np.ndarray) -> np.ndarray:
    """each (l, terms) of the layers alone -> (terms,) of all in a row."""
    terms: np.ndarray = each.sum(axis=0)
    terms[TABLES] = each[0, TABLES]
    # One layer's network has a norm behind its embedding, and so has a deep one: once.
    terms[WEIGHTS] -= sum(2 * layer.hidden for layer in layers[1:])
    terms[WEIGHTS] += _linear(layers[-1].hidden, layers[-1].hidden)
    for one, next_ in pairwise(layers):
        if one.hidden != next_.hidden:
            terms[CHANGES] += 1
            terms[PRODUCTS] += 2 * SEQUENCE_LENGTH * one.hidden * next_.hidden
            terms[WEIGHTS] += _linear(one.hidden, next_.hidden)
    return terms


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs
