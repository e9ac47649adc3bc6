"""Where a refinement goes next: modes in turn, soft reduction, back-tracking, patience.

It follows from the rounds so far alone, so a refinement that was killed goes on alike. A
pruned child is gone on from even where it is worse than its parent, for growing may make up for
it. A growing round that leaves the best value as it was turns back: to the best other node,
the root included, from which some mode was not tried yet, and goes on with the next of those.
Without growing modes the last one of the cycle takes their part.
Source: the method's specification, section 8, without the published code's faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgetran_host.refine.node import ROOT, TRAINED, Node, Round
from edgetran_host.refine.proposals import (
    CHANGE_PRECISION,
    DROP_LAYER,
    GROW_FEED_FORWARD,
    GROW_HEADS,
    GROWING,
    NARROW_EMBEDDING,
    PRUNE_FEED_FORWARD,
    PRUNE_HEADS,
    PRUNE_VOCABULARY,
    PRUNE_WIDTH,
)

CYCLE = (GROW_HEADS, GROW_FEED_FORWARD, PRUNE_HEADS, PRUNE_FEED_FORWARD)  # as published
SHRINKING = (
    PRUNE_HEADS,
    PRUNE_FEED_FORWARD,
    PRUNE_VOCABULARY,
    DROP_LAYER,
    GROW_FEED_FORWARD,
    NARROW_EMBEDDING,
    CHANGE_PRECISION,
    PRUNE_WIDTH,
    GROW_HEADS,
)
REALLOCATING = (  # takes where least is lost and gives elsewhere; layers and their width stay
    NARROW_EMBEDDING,
    GROW_FEED_FORWARD,
    GROW_HEADS,
    PRUNE_FEED_FORWARD,
    PRUNE_HEADS,
    PRUNE_VOCABULARY,
    CHANGE_PRECISION,
)
PATIENCE = 5  # turns without a better node, in total, that end all

Worth = Callable[[Node], float | None]
"""Of a trained node; higher is better."""


def value_of(node: Node) -> float | None:
    """The objective of the run's search."""
    return node.value


def accuracy_of(node: Node) -> float | None:
    """Whatever it costs: what the published code goes by."""
    loss = node.loss if node.served_loss is None else node.served_loss
    return None if loss is None else -loss


@dataclass(frozen=True)
class Step:
    parent: int
    mode: str


def next_step(
    nodes: Mapping[int, Node],
    rounds: Sequence[Round],
    modes: Sequence[str] = CYCLE,
    patience: int = PATIENCE,
    worth: Worth = value_of,
) -> Step | None:
    """None: nothing got better so often that it is finished."""
    here, tried, disappointed = ROOT, _Tried(modes), 0
    turning = [mode for mode in modes if mode in GROWING] or modes[-1:]
    for count, one in enumerate(rounds, 1):
        tried.note(one)
        if one.winner is not None:
            here = one.winner
        before, now = (_best(nodes, rounds[:some], worth) for some in (count - 1, count))
        if tried.left(here) and (now > before or one.mode not in turning):
            continue
        disappointed += now <= before
        open_ = [number for number in _trained(rounds[:count]) if tried.left(number)]
        open_ = [number for number in open_ if number != here] or open_
        if not open_:
            return None
        here = max(open_, key=lambda number: (_worth(nodes[number], worth), -number))
    if disappointed >= patience:
        return None
    return Step(here, tried.left(here)[0])


class _Tried:
    """Which modes are left of each node, the next one first."""

    def __init__(self, modes: Sequence[str]) -> None:
        self._modes = list(modes)
        self._of: dict[int, list[str]] = {}
        self._made_by: dict[int, str] = {}

    def note(self, one: Round) -> None:
        self._of.setdefault(one.parent, []).append(one.mode)
        if one.winner is not None:
            self._made_by[one.winner] = one.mode

    def left(self, number: int) -> list[str]:
        tried = self._of.get(number, [])
        last = tried[-1] if tried else self._made_by.get(number)
        first = (self._modes.index(last) + 1) if last else 0
        order = self._modes[first:] + self._modes[:first]
        return [mode for mode in order if mode not in tried]


def best_node(nodes: Iterable[Node], worth: Worth = value_of) -> Node:
    """Of some with the root among them."""
    return max(nodes, key=lambda node: (_worth(node, worth), -node.number))


def _trained(rounds: Sequence[Round]) -> list[int]:
    return [ROOT, *(one.winner for one in rounds if one.winner is not None)]


def _best(nodes: Mapping[int, Node], rounds: Sequence[Round], worth: Worth) -> float:
    known = {ROOT, *(child for one in rounds for child in one.children)}
    return max(_worth(nodes[number], worth) for number in known)


def _worth(node: Node, worth: Worth) -> float:
    found = worth(node) if node.state == TRAINED else None
    return float("-inf") if found is None else found
