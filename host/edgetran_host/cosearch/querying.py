"""Candidates for a query, and the climb from them to where the acquisition is highest.

Candidates are near the best trials: one to three moves away, tied, crossed with one another,
and a few drawn anew; each also on other boards. The best of all and of each board climb,
neighbour by neighbour, until a round brings nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.cosearch.moves import cross, step, tie
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace

Rng = np.random.Generator
Value = Callable[[Sequence[Pair]], np.ndarray]


@dataclass(frozen=True)
class Effort:
    """How long a query is looked for."""

    parents: int = 8  # best trials that candidates descend from
    mutants: int = 96
    crossings: int = 32
    restarts: int = 24
    other_places: int = 12  # of the best candidates, tried on every board
    climbers: int = 3  # of all candidates
    climbed_places: int = 6  # most boards whose best candidate climbs too
    neighbours: int = 14  # a climber and round
    rounds: int = 10


@dataclass(frozen=True)
class Query:
    pair: Pair
    value: float


def candidates(
    product: ProductSpace, parents: Sequence[Pair], rng: Rng, effort: Effort, tied: bool = False
) -> list[Pair]:
    """Different pairs; `parents` from the best down. tied: each of one block repeated."""
    parents = [_tied(pair) for pair in parents] if tied else parents
    scope = "all" if tied else ""
    found = [*product.sample(rng, effort.restarts, tied=True)]
    if parents:
        for _ in range(effort.mutants):
            moves = int(rng.integers(1, 4))
            found.append(mutate(_one_of(parents, rng), product, rng, moves, scope))
        for _ in range(0 if tied else effort.crossings):
            found.append(cross(_one_of(parents, rng), _one_of(parents, rng), rng))
        found += [_tied(pair) for pair in parents]
    return list(dict.fromkeys(found))


def mutate(pair: Pair, product: ProductSpace, rng: Rng, moves: int, scope: str = "") -> Pair:
    """scope: of the layers that change, as of `step`."""
    for _ in range(moves):
        pair = step(pair, product, rng, scope)
    return pair


def everywhere(pairs: Iterable[Pair], product: ProductSpace) -> list[Pair]:
    """Each on every board."""
    return [replace(pair, place=place) for pair in pairs for place in product.places]


def climb(
    value: Value,
    product: ProductSpace,
    starts: Sequence[Pair],
    taken: set[Pair],
    rng: Rng,
    effort: Effort,
    tied: bool = False,
) -> list[Query]:
    """What is not taken, of all that was looked at on the way, from the best down.

    tied: steps change all layers alike.
    """
    known: dict[Pair, float] = {}
    _look(value, starts, known)
    _look(value, everywhere(_best(known, effort.other_places), product), known)
    climbers = _climbers(known, effort)
    for _ in range(effort.rounds):
        around = [_around(pair, product, rng, effort.neighbours, tied) for pair in climbers]
        _look(value, [near for group in around for near in group], known)
        higher = [
            max([pair, *group], key=known.__getitem__) for pair, group in zip(climbers, around)
        ]
        if higher == climbers:
            break
        climbers = list(dict.fromkeys(higher))
    free = (pair for pair in _best(known, len(known)) if pair not in taken)
    return [Query(pair, known[pair]) for pair in free]


def _climbers(known: dict[Pair, float], effort: Effort) -> list[Pair]:
    """The best of all, and of each board: what is best there may be another kind of design."""
    of_places: dict[Place, Pair] = {}
    for pair in _best(known, len(known)):
        of_places.setdefault(pair.place, pair)
    best = [*of_places.values()][: effort.climbed_places]
    return list(dict.fromkeys([*_best(known, effort.climbers), *best]))


def _around(pair: Pair, product: ProductSpace, rng: Rng, count: int, tied: bool) -> list[Pair]:
    scope = "all" if tied else ""
    return [mutate(pair, product, rng, 1 + int(rng.random() < 0.3), scope) for _ in range(count)]


def _tied(pair: Pair) -> Pair:
    return replace(pair, architecture=tie(pair.architecture))


def _look(value: Value, pairs: Iterable[Pair], known: dict[Pair, float]) -> None:
    new = list(dict.fromkeys(pair for pair in pairs if pair not in known))
    if new:
        known.update(zip(new, map(float, value(new))))


def _best(known: dict[Pair, float], count: int) -> list[Pair]:
    return sorted(known, key=known.__getitem__, reverse=True)[:count]


def _one_of(parents: Sequence[Pair], rng: Rng) -> Pair:
    """The better half as often as all the rest."""
    upper = max(1, len(parents) // 2) if rng.random() < 0.5 else len(parents)
    return parents[int(rng.integers(upper))]
