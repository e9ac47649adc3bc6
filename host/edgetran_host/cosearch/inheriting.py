"""What a design would inherit from those trained before it, and what its training then costs.

Two layers overlap in the weights and biases of their matrices that exist in both: corners
of min(rows) x min(columns), heads of the same kind first, then of the same letter, stacks
by position: what `transfer.nearest_map` takes over, but each of the parent's once. Layers
are matched in order, so that the overlaps add up to the most. Of two designs

    share = overlap of all layers / layers of the larger of the two
    cost  = floor + (1 - floor) (1 - share)^gamma           in full trainings

so that cutting a large design down is no cheaper than growing a small one. Tables of words
and places are left out: they fit any design, and would make strangers look related.

The cost is an assumption, by two published points: bert2BERT (Chen et al., 2022) saves 45 %
of BERT-Base's pretraining by starting from half of its weights, so the cost is about a line
(gamma 1); the published grow-and-prune trains edits of a few per cent of the weights for 1
to 5 % of the steps, so it ends at a floor (the method's specification, section 8). That the
score after such a training equals that of a full one is assumed too.

`training_costs` is a `pricing.TrainingCost`. To charge a trial: `Trial(pair, outcome,
float(training_costs([pair], trials)[0]))`, with all trials before it. `Inheriting(seed=...)`
is the same where a pretrained seed may be inherited from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer

FLOOR = 0.05
GAMMA = 1.0
RELATIVES = 4  # parents that are looked at closely at a time
BLOCK = 1 << 14  # layers against layers at a time: as many numbers as a cache holds

HIDDEN, SIZE, KINDS = 0, 1, 2  # columns of a layer; the stack's widths are behind the kinds
STACK = KINDS + len(HEAD_KINDS)
TAPS = {at: int(kind[2:]) for at, kind in enumerate(HEAD_KINDS) if kind.startswith("c_")}
LETTERS = {
    letter: [at for at, kind in enumerate(HEAD_KINDS) if kind[0] == letter] for letter in "slc"
}
WEIGHTED = HEAD_KINDS.index("sa_wma")


@dataclass(frozen=True)
class Inheriting:
    """What training costs, in full trainings."""

    seed: Architecture | None = None  # of pretrained weights that are at hand
    floor: float = FLOOR
    gamma: float = GAMMA

    def __call__(self, pairs: Sequence[Pair], trials: Sequence[Trial]) -> np.ndarray:
        """(n,); 0 where the design was trained already, on whatever board."""
        trained = dict.fromkeys(
            one.pair.architecture for one in trials if one.outcome.score is not None
        )
        designs = [pair.architecture for pair in pairs]
        parents = list(trained if self.seed is None else trained | {self.seed: None})
        lacking = 1 - shares(designs, parents).max(axis=1, initial=0.0)
        cost = self.floor + (1 - self.floor) * lacking**self.gamma
        return np.where([design in trained for design in designs], 0.0, cost)


training_costs = Inheriting()
FROM_THE_SEED = Inheriting(floor=1.0)  # nothing is handed on, but what is trained serves all boards


def shares(
    designs: Sequence[Architecture], parents: Sequence[Architecture], count: int = 1
) -> np.ndarray:
    """(n, p) of each design in each parent, 0 to 1; of all but the `count` nearest a lower bound.

    Layers are matched only with parents that may be among the nearest, by what `_most` allows.
    """
    if not designs or not parents:
        return np.zeros((len(designs), len(parents)))
    ours, theirs = _Table(designs), _Table(parents)
    overlaps = np.pad(layer_overlaps(ours.layers, theirs.layers), ((0, 1), (0, 1)))
    largest = np.maximum(ours.weights[:, None], theirs.weights[None, :])
    most = _most(overlaps, ours.indices, theirs.indices) / largest
    order = np.argsort(-most, axis=1, kind="stable")
    allowed = np.take_along_axis(most, order, axis=1)
    found = np.zeros(largest.shape)
    last = min(count, len(parents))  # of the nearest
    for start in range(0, len(parents), RELATIVES):
        least = np.partition(found, -last, axis=1)[:, -last, None]
        rows, at = np.nonzero(allowed[:, start : start + RELATIVES] > least)
        if not len(rows):
            break
        columns = order[rows, start + at]
        closely = _matched(overlaps, ours.indices[rows], theirs.indices[columns])
        found[rows, columns] = closely / largest[rows, columns]
    return found


def align(parent: Architecture, child: Architecture) -> tuple[int | None, ...]:
    """The parent's layer for each of the child's, for `transfer.nearest_map`; None: new."""
    w = layer_overlaps(child.layers, parent.layers)  # (l, m)
    best = np.zeros((len(w) + 1, len(w[0]) + 1))
    for i, j in np.ndindex(w.shape):
        best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], best[i, j] + w[i, j])
    found: list[int | None] = [None] * len(w)
    i, j = w.shape
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            found[i] = j
    return tuple(found)


def layer_overlaps(ours: Sequence[Layer], theirs: Sequence[Layer]) -> np.ndarray:
    """(n, m) weights and biases of matrices that a layer of one can take from one of the other."""
    depth = max(len(layer.feed_forward) for layer in (*ours, *theirs))
    a = _columns(ours, depth)[:, :, None]  # (columns, n, 1)
    b = _columns(theirs, depth)[:, None, :]
    found = np.empty((len(ours), len(theirs)), dtype=np.float32)
    rows = max(1, BLOCK // len(theirs))
    for start in range(0, len(ours), rows):
        part = a[:, start : start + rows]
        found[start : start + rows] = _of_heads(part, b) + _of_stack(part, b)
    return found


class _Table:
    """Designs as rows of indices into their distinct layers; the index behind the last: none."""

    def __init__(self, designs: Sequence[Architecture]) -> None:
        numbers: dict[Layer, int] = {}
        for design in designs:
            for layer in design.layers:
                numbers.setdefault(layer, len(numbers))
        self.layers = list(numbers)
        self.depths = np.array([len(design.layers) for design in designs])
        self.indices = np.full((len(designs), self.depths.max()), len(numbers))
        for row, design in zip(self.indices, designs):
            row[: len(design.layers)] = [numbers[layer] for layer in design.layers]
        each = np.append([_weights(layer) for layer in self.layers], 0.0)
        self.weights = each[self.indices].sum(axis=1)  # (n,) of all layers


def _most(overlaps: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Layers (n, l), (p, k) -> (n, p) what no matches exceed: each layer with its best.

    That of the child's layers, or that of the parent's, whichever is less.
    """
    of_ours = _summed(_best_of(overlaps.T, theirs), ours).T
    found: np.ndarray = np.minimum(of_ours, _summed(_best_of(overlaps, ours), theirs))
    return found


def _summed(best: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """best (n, b), layers (p, k) of b -> (n, p)"""
    found = np.zeros((len(best), len(layers)))
    for column in layers.T:
        found += best[:, column]
    return found


def _best_of(overlaps: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """overlaps (a, b), layers (n, l) of a -> (n, b) the most over each row of layers."""
    found: np.ndarray = overlaps[layers[:, 0]]
    for column in layers.T[1:]:
        np.maximum(found, overlaps[column], out=found)
    return found


def _matched(overlaps: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Rows of layers (n, l), (n, k) -> (n,) the most that ascending matches add up to."""
    best = [np.zeros(len(ours)) for _ in range(theirs.shape[1] + 1)]
    for one in ours.T:
        before = best[0]
        for j, other in enumerate(theirs.T, start=1):
            found = np.maximum(best[j], best[j - 1])
            np.maximum(found, before + overlaps[one, other], out=found)
            before, best[j] = best[j], found
    most: np.ndarray = best[-1]
    return most


def _of_heads(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Query, key, value, what joins them, and what a kind has of its own."""
    h, d = np.minimum(a[HIDDEN], b[HIDDEN]), np.minimum(a[SIZE], b[SIZE])
    matched = {
        letter: np.minimum(a[KINDS:STACK][kinds].sum(axis=0), b[KINDS:STACK][kinds].sum(axis=0))
        for letter, kinds in LETTERS.items()
    }
    every = matched["s"] + matched["l"] + matched["c"]
    asked = every + every + matched["s"] + matched["c"]  # query, value; keys of s and c
    found = asked * d * (h + 1) + every * d * h + h
    found = found + np.minimum(a[KINDS + WEIGHTED], b[KINDS + WEIGHTED]) * d * d
    each = 2 * d * d + 2 * d
    whole: np.ndarray = found + matched["c"] * each + _taps(a, b, matched["c"]) * (2 * d + 1)
    return whole


def _taps(a: np.ndarray, b: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """The taps that convolutions have in common; of unlike ones the fewest, a little too few."""
    found, rest = np.zeros_like(matched), matched
    for at, taps in TAPS.items():
        alike = np.minimum(a[KINDS + at], b[KINDS + at])
        found, rest = found + alike * taps, rest - alike
    whole: np.ndarray = found + rest * min(TAPS.values())
    return whole


def _of_stack(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix by matrix; the last, which leads back, reads what both stacks end with."""
    h = np.minimum(a[HIDDEN], b[HIDDEN])
    entering, found = h, np.zeros(h.shape)
    for ours, theirs in zip(a[STACK:], b[STACK:]):
        width = np.minimum(ours, theirs)  # 0 where either has no such matrix
        found = found + width * (entering + 1)
        # Behind the parent's last matrix the child's copy what enters, and may be narrower.
        narrowed = np.where((ours > 0) & (theirs == 0), np.minimum(entering, ours), entering)
        entering = np.where(width > 0, width, narrowed)
    whole: np.ndarray = found + h * (entering + 1)
    return whole


@lru_cache(maxsize=200_000)
def _weights(layer: Layer) -> float:
    return float(layer_overlaps([layer], [layer])[0, 0])


def _columns(layers: Sequence[Layer], depth: int) -> np.ndarray:
    """(columns, n)"""
    return np.array([_row(layer, depth) for layer in layers], dtype=np.float32).T


@lru_cache(maxsize=200_000)
def _row(layer: Layer, depth: int) -> tuple[int, ...]:
    stack = layer.feed_forward + (0,) * (depth - len(layer.feed_forward))
    kinds = (layer.heads.count(kind) for kind in HEAD_KINDS)
    return (layer.hidden, layer.head_size, *kinds, *stack)
