"""What an architecture of the published study is paid for: operations, weights, activations.

A term is something a board spends time on; costs are learnt a term, so that a design outside
the measured ones is still a sum of known parts. Symbols, a layer: L tokens, h hidden, n heads
of size d, A = n * d, f feed-forward widths, k taps of a c_k head. An architecture is the
study's {"l": layers, "o": [[head, ...], ...], "h": [...], "f": [[...], ...]}, a head
"<kind>_<parameter>_<size>". Weights are counted with the study's vocabulary and tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SEQUENCE_LENGTH = 128  # tokens; the published rows are padded to it
HEAD_KINDS = ("sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13")
VOCABULARY, POSITIONS, TYPES = 50_265, 514, 1  # rows of RoBERTa's tables
RELATIVE_ROWS = 1_027  # distances -513 to 513
MOST_LAYERS, WIDEST = 1000, 1 << 20  # what a stranger's card may ask us to add up

ARCHITECTURE_TERMS = {  # name -> what it counts, a row
    "projection_flops": "Q, K, V, output and width-change products",
    "feed_forward_flops": "products of the feed-forward stacks",
    "score_flops": "Q K^T of sa heads, P V of all",
    "position_flops": "Q R^T of all heads",
    "convolution_flops": "depthwise, pointwise and tap products of c heads",
    "weighting_flops": "Q W of sa_wma heads",
    "transformed_values": "L d of l heads",
    "odd_transforms": "d^2 of l heads whose d is no power of two",
    "embedding_parameters": "word, position and type tables",
    "layer_parameters": "all other weights",
    "activation_values": "values that pass an activation, a norm or a residual",
    "softmax_values": "L^2 a head",
    "unfolded_values": "L d k of c heads",
    "layers": "layers",
    "matrices": "feed-forward products",
    "width_changes": "layers whose hidden size is not that of the one before",
    **{f"{kind}_heads": f"{kind} heads" for kind in HEAD_KINDS},
}


class Layer(NamedTuple):
    hidden: int
    kinds: tuple[str, ...]  # of its heads
    size: int  # of a head
    feed_forward: tuple[int, ...]

    @property
    def chain(self) -> tuple[int, ...]:
        return (self.hidden, *self.feed_forward, self.hidden)


def architecture_terms(
    architecture: Mapping[str, Any], sequence_length: int = SEQUENCE_LENGTH
) -> dict[str, float]:
    """The terms of ARCHITECTURE_TERMS, in its order. Raises ValueError for what is none."""
    layers = _layers(architecture)
    terms = dict.fromkeys(ARCHITECTURE_TERMS, 0.0)
    for layer in layers:
        _add_layer(terms, layer, sequence_length)
    for one, next_ in zip(layers, layers[1:]):
        if one.hidden != next_.hidden:
            terms["width_changes"] += 1
            terms["projection_flops"] += 2 * sequence_length * one.hidden * next_.hidden
            terms["layer_parameters"] += _linear(one.hidden, next_.hidden)
    first, last = layers[0].hidden, layers[-1].hidden
    terms["embedding_parameters"] = (VOCABULARY + POSITIONS + TYPES) * first
    terms["layer_parameters"] += 2 * first + _linear(last, last)  # the tables' norm, the pooler
    return terms


def _layers(architecture: Mapping[str, Any]) -> list[Layer]:
    try:
        found = [
            _layer(int(hidden), heads, feed_forward)
            for hidden, heads, feed_forward in zip(
                architecture["h"], architecture["o"], architecture["f"]
            )
        ]
        complete = 0 < architecture["l"] == len(found) <= MOST_LAYERS
    except (KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise ValueError(f"no architecture of the study: {exc!r}") from exc
    if not complete:
        raise ValueError("no architecture of the study: its layers are not what l says")
    return found


def _layer(hidden: int, heads: Sequence[str], feed_forward: Sequence[int]) -> Layer:
    kinds, sizes = zip(*(head.rsplit("_", 1) for head in heads)) if heads else ((), ())
    kinds = tuple(kind if kind in HEAD_KINDS else "?" for kind in kinds)
    widths = (hidden, int(sizes[0]) if sizes else 0, *(int(width) for width in feed_forward))
    if "?" in kinds or len(set(sizes)) != 1 or not all(0 < one <= WIDEST for one in widths):
        raise ValueError(f"no layer of the study: {hidden}, {list(heads)}, {list(feed_forward)}")
    return Layer(hidden, kinds, widths[1], widths[2:])


def _add_layer(terms: dict[str, float], layer: Layer, length: int) -> None:
    hidden, size = layer.hidden, layer.size
    width = size * len(layer.kinds)
    steps = list(zip(layer.chain, layer.chain[1:]))
    terms["layers"] += 1
    terms["matrices"] += len(steps)
    terms["projection_flops"] += 2 * length * 4 * hidden * width
    terms["feed_forward_flops"] += sum(2 * length * one * two for one, two in steps)
    terms["activation_values"] += length * (sum(layer.feed_forward) + 4 * hidden + 4 * width)
    terms["softmax_values"] += length**2 * len(layer.kinds)
    weights = 3 * _linear(hidden, width) + _linear(width, hidden) + RELATIVE_ROWS * size
    terms["layer_parameters"] += weights + sum(_linear(*step) for step in steps) + 4 * hidden
    for kind in layer.kinds:
        _add_head(terms, kind, size, length)


def _add_head(terms: dict[str, float], kind: str, size: int, length: int) -> None:
    terms[f"{kind}_heads"] += 1
    terms["position_flops"] += 2 * length**2 * size
    terms["score_flops"] += 2 * length**2 * size * (2 if kind.startswith("sa_") else 1)
    if kind == "sa_wma":
        terms["weighting_flops"] += 2 * length * size**2
        terms["layer_parameters"] += size**2
    elif kind.startswith("l_"):
        terms["transformed_values"] += length * size
        terms["odd_transforms"] += size**2 if size & (size - 1) else 0
    elif kind.startswith("c_"):
        taps = int(kind[len("c_") :])
        terms["convolution_flops"] += 2 * length * size * (2 * size + 3 * taps)
        terms["unfolded_values"] += length * size * taps
        depthwise, pointwise = size * taps, _linear(size, size)
        terms["layer_parameters"] += depthwise + pointwise + _linear(size, taps)
        terms["layer_parameters"] += _linear(size, size)


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs
