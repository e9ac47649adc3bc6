"""All pairs a co-search may propose: a design space times the places that are at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample


@dataclass(frozen=True)
class ProductSpace:
    space: DesignSpace
    places: tuple[Place, ...]

    def __post_init__(self) -> None:
        if not self.places or len(set(self.places)) < len(self.places):
            raise UsageError(
                "a co-search needs one place or more, all different",
                hint="name each board once",
            )

    def sample(self, rng: np.random.Generator, count: int, tied: bool) -> list[Pair]:
        """tied: all layers of a design are alike. Repeats are possible."""
        designs = sample(self.space, count, rng)
        places = rng.integers(len(self.places), size=count)
        return [
            Pair(_tied(design) if tied else design, self.places[place])
            for design, place in zip(designs, places)
        ]

    def contains(self, pair: Pair) -> bool:
        return pair.place in self.places and self.space.contains(pair.architecture)


def _tied(design: Architecture) -> Architecture:
    """All layers like the first, which is as random as any."""
    return Architecture(design.layers[:1] * len(design.layers))
