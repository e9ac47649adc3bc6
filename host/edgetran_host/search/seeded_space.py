"""The space of designs around a pretrained seed; its first point is the seed.

A design is tied: every kept layer has the same number of heads and the same
feed-forward width; of a seed whose layers differ, each keeps the same share of its own,
heads of all its kinds alike. Tying is what makes a small number of evaluations tell
designs apart; which heads, neurons and word pieces stay is decided by saliency.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgetran_host.models.config import ModelConfig
from edgetran_host.search.objective import ACCURACY, BALANCE
from edgetran_host.space.architecture import Architecture

HEAD_SHARES = (1.0, 0.75, 0.5, 1 / 3)
FEED_FORWARD_SHARES = (0.75, 0.5, 0.375, 0.25)  # beside the seed's own width
VOCABULARY_SIZES = (4000, 6000, 8000, 12000)
LARGE_VOCABULARY_SIZES = (16000, 20000)  # beside those, where a narrower table can hold them
TABLE_SHARES = (0.25, 0.5)  # of the hidden size: a narrower table leaves bytes for more words
PRECISIONS = ("int8", "fp32")
MIN_LAYERS = 2
WIDTH_STEP = 16  # narrower feed-forward widths are multiples of this
MIN_WIDTH = 64  # the method's lower bound; a seed's own width may be below
STARTING_DEPTH = 2 / 3  # of the seed's layers


@dataclass(frozen=True)
class Design:
    """One point: what is kept of the seed, and the precision it runs in."""

    layers: int
    heads: int  # in every layer, or in the one that had most
    feed_forward: int  # width in every layer, or of the widest matrix
    vocabulary: int | None  # word pieces kept; None: all
    precision: str  # "int8" or "fp32"
    table: int | None = None  # width of the table of words, factorised; None: the hidden size

    def label(self) -> str:
        pieces = f"{self.vocabulary // 1000}k" if self.vocabulary else "all"
        table = f" e{self.table}" if self.table else ""
        shape = f"{self.layers}L {self.heads}h ff{self.feed_forward}"
        return f"{shape} {pieces}{table} {self.precision}"


@dataclass(frozen=True)
class SeededSpace:
    """The choices around one seed."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    feed_forward: tuple[int, ...]
    vocabulary: tuple[int | None, ...]
    precision: tuple[str, ...]
    table: tuple[int | None, ...] = (None,)

    @staticmethod
    def around(seed: ModelConfig, *, trimmable: bool = True, prefer: str = BALANCE) -> SeededSpace:
        """trimmable: the seed's kind of vocabulary can be cut. Who prefers accuracy may have
        a narrower table of words, which leaves bytes for more of them, and costs a little time.

        Where the hidden size changes from layer to layer, all layers stay.
        """
        count = len(seed.architecture.layers)
        most, width = _largest(seed.architecture)
        heads = {max(1, round(most * share)) for share in HEAD_SHARES}
        one_width = len({layer.hidden for layer in seed.architecture.layers}) == 1
        least = min(MIN_LAYERS, count) if one_width else count
        rounded = {round(width * share / WIDTH_STEP) * WIDTH_STEP for share in FEED_FORWARD_SHARES}
        widths = {width} | {narrow for narrow in rounded if MIN_WIDTH <= narrow < width}
        hidden = seed.architecture.layers[0].hidden
        shares = TABLE_SHARES if prefer == ACCURACY and seed.embedding_width is None else ()
        tables = [round(hidden * share / WIDTH_STEP) * WIDTH_STEP for share in shares]
        narrow = tuple(width for width in tables if width >= MIN_WIDTH)
        sizes = VOCABULARY_SIZES + (LARGE_VOCABULARY_SIZES if narrow else ())
        return SeededSpace(
            layers=tuple(range(least, count + 1)),
            heads=tuple(sorted(heads)),
            feed_forward=tuple(sorted(widths)),
            vocabulary=(*(size for size in sizes if trimmable and size < seed.vocab_size), None),
            precision=PRECISIONS,
            table=(*narrow, None),
        )

    @property
    def size(self) -> int:
        product = len(self.layers) * len(self.heads) * len(self.feed_forward)
        return product * len(self.vocabulary) * len(self.precision) * len(self.table)

    def seed_point(self) -> Design:
        return Design(self.layers[-1], self.heads[-1], self.feed_forward[-1], None, "fp32")

    def starting_points(self, prefer: str = BALANCE) -> tuple[Design, ...]:
        """A few designs that tell depth, width and both apart, tried before any model.

        Who prefers accuracy has all layers, and most words where a narrower table can hold them:
        about as many weights spent on words, on more heads, on all of them.
        """
        trimmed = [size for size in self.vocabulary if size]
        small = trimmed[min(2, len(trimmed) - 1)] if trimmed else None
        deep, full, wide = self.layers[-1], self.heads[-1], self.feed_forward[-1]
        shallow = max(self.layers[0], round(STARTING_DEPTH * deep))
        half, narrow = _lower_middle(self.heads), _lower_middle(self.feed_forward)
        shapes = ((shallow, full, wide), (shallow, half, narrow), (deep, half, narrow))
        found = [Design(*shape, small, "int8") for shape in shapes]
        if prefer == ACCURACY:
            more, thinner = (
                _neighbour(self.heads, half, 1),
                _neighbour(self.feed_forward, narrow, -1),
            )
            middle = self.table[len(self.table) // 2]
            words = trimmed[-1] if trimmed and middle else small
            found = [
                Design(deep, half, narrow, words, "int8", middle),
                Design(deep, more, narrow, words, "int8", self.table[0]),
                Design(deep, full, thinner, words, "int8", self.table[0]),
            ]
        return tuple(dict.fromkeys(found))

    def smallest_points(self) -> tuple[Design, ...]:
        """The cheapest design in each precision: where it breaks a limit, every other does."""
        layers, heads, feed_forward, vocabulary, precisions, table = self._axes()
        cut = (layers[0], heads[0], feed_forward[0], vocabulary[0])
        return tuple(Design(*cut, precision, table[0]) for precision in precisions)

    def with_fewer_pieces(self, design: Design) -> Design | None:
        """Its neighbour by vocabulary alone; None where it has the fewest."""
        at = self.vocabulary.index(design.vocabulary)
        return dataclasses.replace(design, vocabulary=self.vocabulary[at - 1]) if at else None

    def narrower(self, design: Design) -> Design | None:
        """Its neighbour by feed-forward width alone; None where it is the narrowest."""
        at = self.feed_forward.index(design.feed_forward)
        return dataclasses.replace(design, feed_forward=self.feed_forward[at - 1]) if at else None

    def designs(self) -> Iterator[Design]:
        """All of them, in a fixed order."""
        for choice in itertools.product(*self._axes()):
            yield Design(*choice)

    def distance(self, one: Design, other: Design) -> int:
        """Steps between neighbouring choices that lead from one to the other."""
        pairs = zip(self._axes(), asdict(one).values(), asdict(other).values())
        return sum(abs(axis.index(a) - axis.index(b)) for axis, a, b in pairs)

    def _axes(self) -> tuple[tuple[Any, ...], ...]:
        """In the order of a Design's fields."""
        shape = (self.layers, self.heads, self.feed_forward)
        return (*shape, self.vocabulary, self.precision, self.table)


def _largest(seed: Architecture) -> tuple[int, int]:
    """Heads of the layer that has most, and the widest feed-forward matrix."""
    heads = max(len(layer.heads) for layer in seed.layers)
    return heads, max(width for layer in seed.layers for width in layer.feed_forward)


def _share(whole: int, kept: int, of: int) -> int:
    return max(1, round(whole * kept / of))


def _spread(heads: tuple[str, ...], count: int) -> tuple[str, ...]:
    """So many of them, of every kind about as large a share."""
    return tuple(heads[i * len(heads) // count] for i in range(count))


def _lower_middle(choices: tuple[int, ...]) -> int:
    return choices[(len(choices) - 1) // 2]


def _neighbour(choices: tuple[int, ...], one: int, step: int) -> int:
    return choices[min(max(choices.index(one) + step, 0), len(choices) - 1)]


def keep_layers(seed_layers: int, layers: int) -> tuple[int, ...]:
    """Which of the seed's layers stay: the first, the last, evenly between."""
    if layers == 1:
        return (0,)
    return tuple(i * (seed_layers - 1) // (layers - 1) for i in range(layers))


def architecture(seed: ModelConfig, design: Design) -> Architecture:
    """The child's architecture; hidden and head sizes stay the seed's."""
    most, widest = _largest(seed.architecture)
    wholes = seed.architecture.layers
    return Architecture(
        tuple(
            dataclasses.replace(
                whole,
                heads=_spread(whole.heads, _share(len(whole.heads), design.heads, most)),
                feed_forward=tuple(
                    _share(width, design.feed_forward, widest) for width in whole.feed_forward
                ),
            )
            for whole in (wholes[i] for i in keep_layers(len(wholes), design.layers))
        )
    )


def to_params(design: Design) -> dict[str, int | str]:
    """As an Optuna trial stores it; 0 stands for all pieces, and for a table that is not narrow."""
    return {**asdict(design), "vocabulary": design.vocabulary or 0, "table": design.table or 0}


def from_params(params: dict[str, int | str]) -> Design:
    return Design(
        layers=int(params["layers"]),
        heads=int(params["heads"]),
        feed_forward=int(params["feed_forward"]),
        vocabulary=int(params["vocabulary"]) or None,
        precision=str(params["precision"]),
        table=int(params.get("table", 0)) or None,
    )
