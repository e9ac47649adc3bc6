"""The space of designs around a pretrained seed; its first point is the seed.

A design is tied: every kept layer has the same number of heads and the same
feed-forward width. Tying is what makes a small number of evaluations tell
designs apart; which heads, neurons and word pieces stay is decided by saliency.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgetran_protos.errors import ArchitectureError

from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import Architecture, Layer

HEAD_SHARES = (1.0, 0.75, 0.5, 1 / 3)
FEED_FORWARD_SHARES = (0.75, 0.5, 0.375, 0.25)  # beside the seed's own width
VOCABULARY_SIZES = (4000, 8000, 12000)
PRECISIONS = ("int8", "fp32")
MIN_LAYERS = 2
WIDTH_STEP = 16  # narrower feed-forward widths are multiples of this
MIN_WIDTH = 64  # the method's lower bound; a seed's own width may be below
STARTING_DEPTH = 2 / 3  # of the seed's layers


@dataclass(frozen=True)
class Design:
    """One point: what is kept of the seed, and the precision it runs in."""

    layers: int
    heads: int  # in every layer
    feed_forward: int  # width in every layer
    vocabulary: int | None  # word pieces kept; None: all
    precision: str  # "int8" or "fp32"

    def label(self) -> str:
        pieces = f"{self.vocabulary // 1000}k" if self.vocabulary else "all"
        return f"{self.layers}L {self.heads}h ff{self.feed_forward} {pieces} {self.precision}"


@dataclass(frozen=True)
class SeededSpace:
    """The choices around one seed."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    feed_forward: tuple[int, ...]
    vocabulary: tuple[int | None, ...]
    precision: tuple[str, ...]

    @staticmethod
    def around(seed: ModelConfig, *, trimmable: bool = True) -> SeededSpace:
        """trimmable: the seed's kind of vocabulary can be cut.

        Raises ArchitectureError for a seed that no tied design stands for.
        """
        _check_tied(seed.architecture)
        count = len(seed.architecture.layers)
        first = seed.architecture.layers[0]
        heads = {max(1, round(len(first.heads) * share)) for share in HEAD_SHARES}
        width = first.feed_forward[0]
        rounded = {round(width * share / WIDTH_STEP) * WIDTH_STEP for share in FEED_FORWARD_SHARES}
        widths = {width} | {narrow for narrow in rounded if MIN_WIDTH <= narrow < width}
        sizes = tuple(size for size in VOCABULARY_SIZES if trimmable and size < seed.vocab_size)
        return SeededSpace(
            layers=tuple(range(min(MIN_LAYERS, count), count + 1)),
            heads=tuple(sorted(heads)),
            feed_forward=tuple(sorted(widths)),
            vocabulary=(*sizes, None),
            precision=PRECISIONS,
        )

    @property
    def size(self) -> int:
        product = len(self.layers) * len(self.heads) * len(self.feed_forward)
        return product * len(self.vocabulary) * len(self.precision)

    def seed_point(self) -> Design:
        return Design(self.layers[-1], self.heads[-1], self.feed_forward[-1], None, "fp32")

    def starting_points(self) -> tuple[Design, ...]:
        """A few designs that tell depth, width and both apart, tried before any model."""
        trimmed = [size for size in self.vocabulary if size]
        small = trimmed[min(1, len(trimmed) - 1)] if trimmed else None
        deep, full, wide = self.layers[-1], self.heads[-1], self.feed_forward[-1]
        shallow = max(self.layers[0], round(STARTING_DEPTH * deep))
        half, narrow = _lower_middle(self.heads), _lower_middle(self.feed_forward)
        found = (
            Design(shallow, full, wide, small, "int8"),
            Design(shallow, half, narrow, small, "int8"),
            Design(deep, half, narrow, small, "int8"),
        )
        return tuple(dict.fromkeys(found))

    def smallest_points(self) -> tuple[Design, ...]:
        """The cheapest design in each precision: where it breaks a limit, every other does."""
        layers, heads, feed_forward, vocabulary, precisions = self._axes()
        cut = (layers[0], heads[0], feed_forward[0], vocabulary[0])
        return tuple(Design(*cut, precision) for precision in precisions)

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
        return (self.layers, self.heads, self.feed_forward, self.vocabulary, self.precision)


def _check_tied(seed: Architecture) -> None:
    first = seed.layers[0]
    alike = len(set(seed.layers)) == len(set(first.heads)) == len(first.feed_forward) == 1
    if not alike:
        raise ArchitectureError(
            "a seed needs layers of one shape, with heads of one kind and one feed-forward width",
            hint="choose a BERT-type encoder as the seed",
        )


def _lower_middle(choices: tuple[int, ...]) -> int:
    return choices[(len(choices) - 1) // 2]


def keep_layers(seed_layers: int, layers: int) -> tuple[int, ...]:
    """Which of the seed's layers stay: the first, the last, evenly between."""
    if layers == 1:
        return (0,)
    return tuple(i * (seed_layers - 1) // (layers - 1) for i in range(layers))


def architecture(seed: ModelConfig, design: Design) -> Architecture:
    """The child's architecture; hidden and head sizes stay the seed's."""
    kept = keep_layers(len(seed.architecture.layers), design.layers)
    return Architecture(
        tuple(
            Layer(
                hidden=seed.architecture.layers[i].hidden,
                heads=seed.architecture.layers[i].heads[: design.heads],
                head_size=seed.architecture.layers[i].head_size,
                feed_forward=(design.feed_forward,),
            )
            for i in kept
        )
    )


def to_params(design: Design) -> dict[str, int | str]:
    """As an Optuna trial stores it; 0 stands for the whole vocabulary."""
    return {**asdict(design), "vocabulary": design.vocabulary or 0}


def from_params(params: dict[str, int | str]) -> Design:
    return Design(
        layers=int(params["layers"]),
        heads=int(params["heads"]),
        feed_forward=int(params["feed_forward"]),
        vocabulary=int(params["vocabulary"]) or None,
        precision=str(params["precision"]),
    )
