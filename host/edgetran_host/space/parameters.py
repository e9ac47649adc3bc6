"""How many weights an architecture has, by kind, without building it.

Counts the published network: encoder and pooler, no language-model head, relative
positions, Q, K and V for every head, and the absolute-position table that the
original allocates and never reads (kept so that published sizes reproduce).

h hidden, n heads of size d, A = n * d, f feed-forward widths, k taps of a c_k head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from itertools import pairwise

from edgetran_host.space.architecture import Architecture, Layer

VOCAB_SIZE = 50_265  # RoBERTa's byte-level word pieces
POSITIONS = 514
TYPE_VOCAB_SIZE = 1
RELATIVE_ROWS = 1_027  # distances -513 to 513


@dataclass(frozen=True)
class ParameterCount:
    """Weights and biases by kind."""

    word_embedding: int
    position_embedding: int  # allocated by the original, never read
    type_embedding: int
    attention: int  # Q, K, V and the output projection
    relative_positions: int  # one table a layer, shared by its heads
    head_extras: int  # what weighted and convolution heads add
    feed_forward: int
    projections: int  # between parts of different width
    norms: int
    pooler: int

    @property
    def total(self) -> int:
        return sum(astuple(self))


def count_parameters(
    architecture: Architecture,
    *,
    vocab_size: int = VOCAB_SIZE,
    positions: int = POSITIONS,
    type_vocab_size: int = TYPE_VOCAB_SIZE,
    pooler: bool = True,
    embedding_width: int | None = None,
) -> ParameterCount:
    """`positions` sizes the unread table (0 leaves it out), not the relative ones.

    `embedding_width` is that of a factorised embedding; None: as the first layer's.
    """
    layers = architecture.layers
    first, last = layers[0].hidden, layers[-1].hidden
    table = embedding_width or first
    return ParameterCount(
        word_embedding=vocab_size * table,
        position_embedding=positions * table,
        type_embedding=type_vocab_size * table,
        attention=sum(map(_attention, layers)),
        relative_positions=sum(RELATIVE_ROWS * layer.head_size for layer in layers),
        head_extras=sum(_head_extra(kind, layer) for layer in layers for kind in layer.heads),
        feed_forward=sum(map(_feed_forward, layers)),
        projections=sum(
            _linear(one.hidden, next_.hidden)
            for one, next_ in pairwise(layers)
            if one.hidden != next_.hidden
        )
        + (0 if embedding_width is None else _linear(table, first)),
        norms=2 * table + sum(2 * 2 * layer.hidden for layer in layers),  # scale and shift
        pooler=_linear(last, last) if pooler else 0,
    )


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _chain(widths: Iterable[int]) -> int:
    return sum(_linear(one, next_) for one, next_ in pairwise(widths))


def _attention(layer: Layer) -> int:
    width = layer.attention_width
    return 3 * _linear(layer.hidden, width) + _linear(width, layer.hidden)


def _feed_forward(layer: Layer) -> int:
    return _chain((layer.hidden, *layer.feed_forward, layer.hidden))


def _head_extra(kind: str, layer: Layer) -> int:
    size = layer.head_size
    if kind == "sa_wma":
        return size * size
    if kind.startswith("c_"):
        taps = int(kind.removeprefix("c_"))
        depthwise, pointwise = size * taps, size * size + size
        return depthwise + pointwise + _linear(size, taps) + _linear(size, size)
    return 0
