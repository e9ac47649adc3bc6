"""What one step of a refinement may try: edits of a design, chosen by saliency, within bounds.

Growth is drawn at random, several children a step; of what is pruned the least salient goes,
compared over the whole model. Only the one edit that a mode names is made.
Source: the method's specification, section 8, with its bounds and rules of growth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from edgetran_protos.errors import ArchitectureError

from edgetran_host.space.architecture import Architecture
from edgetran_host.transfer.growth import Edit, add_heads, widen
from edgetran_host.transfer.pruning import drop_heads, drop_layer, drop_neurons, narrow
from edgetran_host.transfer.saliency import Saliency

GROW_HEADS, GROW_FEED_FORWARD = "grow heads", "grow feed-forward"
PRUNE_HEADS, PRUNE_FEED_FORWARD = "prune heads", "prune feed-forward"
PRUNE_WIDTH, DROP_LAYER = "prune width", "drop layer"
PRUNE_VOCABULARY, NARROW_EMBEDDING = "prune vocabulary", "narrow embedding"  # in `deployable`,
CHANGE_PRECISION = "change precision"  # as this
GROWING = (GROW_HEADS, GROW_FEED_FORWARD)
MULTIPLE = 16  # of hidden sizes and feed-forward widths
LEAST_WIDTH, LEAST_HIDDEN = 64, 64


@dataclass(frozen=True)
class Sizes:
    """Of one edit."""

    children: int = 5  # of a mode that draws
    heads: int = 2  # that go at once
    neurons: int = 256  # that go at once, over the model
    grown_neurons: int = 128
    channels: int = 48
    kinds: tuple[str, ...] = ("sa_sdp",)  # of new heads


@dataclass(frozen=True)
class Proposal:
    mode: str
    what: str  # for people: "layer 2: 1 sa_sdp head more"
    edit: Edit
    pieces: int | None = None  # of a smaller vocabulary
    new_pieces: bool = False  # trained on the task's texts
    table_width: int | None = None  # of embeddings that are factorised
    variant: tuple[str, str] | None = None  # another runtime and precision


Propose = Callable[[Architecture, Saliency, Sizes, np.random.Generator], list[Proposal]]


def propose(
    mode: str,
    parent: Architecture,
    saliency: Saliency,
    sizes: Sizes,
    rng: np.random.Generator,
) -> list[Proposal]:
    """At most `sizes.children`; none where bounds leave nothing to do.

    Raises ArchitectureError for an unknown mode.
    """
    if mode not in MODES:
        raise ArchitectureError(f"{mode!r} is no mode", hint=f"choose of {', '.join(MODES)}")
    return MODES[mode](parent, saliency, sizes, rng)


def _grow_heads(
    parent: Architecture, saliency: Saliency, sizes: Sizes, rng: np.random.Generator
) -> list[Proposal]:
    """One head of a kind, in a layer; all pairs of layer and kind are different."""
    choices = [(at, kind) for at in range(len(parent.layers)) for kind in sizes.kinds]
    drawn = rng.permutation(len(choices))[: sizes.children]
    return [
        Proposal(GROW_HEADS, f"layer {at}: 1 {kind} head more", add_heads(parent, at, [kind]))
        for at, kind in (choices[one] for one in drawn)
    ]


def _grow_feed_forward(
    parent: Architecture, saliency: Saliency, sizes: Sizes, rng: np.random.Generator
) -> list[Proposal]:
    choices = _matrices(parent)
    drawn = rng.permutation(len(choices))[: sizes.children]
    found = []
    for layer, stack in (choices[one] for one in drawn):
        width = parent.layers[layer].feed_forward[stack] + sizes.grown_neurons
        width -= width % MULTIPLE
        what = f"layer {layer}: feed-forward {_named(parent, layer, stack)} to {width}"
        found.append(Proposal(GROW_FEED_FORWARD, what, widen(parent, layer, stack, width)))
    return found


def _prune_heads(
    parent: Architecture, saliency: Saliency, sizes: Sizes, rng: np.random.Generator
) -> list[Proposal]:
    """The least salient of the model; each layer keeps its most salient one."""
    ranked = sorted(
        (float(score), layer, head)
        for layer, scores in enumerate(saliency.heads)
        for head, score in enumerate(scores)
        if head != int(scores.argmax())
    )
    gone: dict[int, list[int]] = {}
    for _, layer, head in ranked[: sizes.heads]:
        gone.setdefault(layer, []).append(head)
    if not gone:
        return []
    what = "; ".join(
        f"layer {layer}: {_heads(len(heads))}" for layer, heads in sorted(gone.items())
    )
    return [Proposal(PRUNE_HEADS, f"{what} fewer", drop_heads(parent, gone))]


def _prune_feed_forward(
    parent: Architecture, saliency: Saliency, sizes: Sizes, rng: np.random.Generator
) -> list[Proposal]:
    """The least salient neurons, in blocks that keep widths multiples of MULTIPLE."""
    ranked, blocks = {}, []
    for layer, stack in _matrices(parent):
        scores, order = saliency.feed_forward[layer][stack].sort(stable=True)
        ranked[layer, stack] = order.tolist()
        first = len(order) % MULTIPLE or MULTIPLE
        ends = range(first, len(order) - LEAST_WIDTH + 1, MULTIPLE)
        starts = (0, *ends)
        blocks += [
            (float(scores[start:end].sum()), layer, stack, end) for start, end in zip(starts, ends)
        ]
    gone: dict[tuple[int, int], int] = {}
    for _, layer, stack, end in sorted(blocks):
        if sum(gone.values()) >= sizes.neurons:
            break
        gone[layer, stack] = end  # a matrix's blocks come in the order of their saliency
    if not gone:
        return []
    edit = drop_neurons(parent, {where: ranked[where][:count] for where, count in gone.items()})
    what = "; ".join(
        f"layer {layer}: feed-forward {_named(parent, layer, stack)} to"
        f" {edit.architecture.layers[layer].feed_forward[stack]}"
        for layer, stack in sorted(gone)
    )
    return [Proposal(PRUNE_FEED_FORWARD, what, edit)]


def _prune_width(
    parent: Architecture, saliency: Saliency, sizes: Sizes, rng: np.random.Generator
) -> list[Proposal]:
    """Of all layers alike: a layer narrower than its neighbours would need projections."""
    hidden = {layer.hidden for layer in parent.layers}
    target = min(hidden) - sizes.channels
    target -= target % MULTIPLE
    if len(hidden) > 1 or target < LEAST_HIDDEN:
        return []
    return [Proposal(PRUNE_WIDTH, f"hidden size to {target}", narrow(parent, target, saliency))]


def _drop_layer(
    parent: Architecture, saliency: Saliency, sizes: Sizes, rng: np.random.Generator
) -> list[Proposal]:
    """The least salient ones, each a child of its own; a change of width keeps its layers."""
    count = len(parent.layers)
    if count == 1 or len({layer.hidden for layer in parent.layers}) > 1:
        return []
    scores = [
        float(saliency.heads[at].sum() + sum(float(one.sum()) for one in saliency.feed_forward[at]))
        for at in range(count)
    ]
    order = sorted(range(count), key=lambda at: (scores[at], at))[: sizes.children]
    return [Proposal(DROP_LAYER, f"layer {at} goes", drop_layer(parent, at)) for at in order]


MODES: dict[str, Propose] = {
    GROW_HEADS: _grow_heads,
    GROW_FEED_FORWARD: _grow_feed_forward,
    PRUNE_HEADS: _prune_heads,
    PRUNE_FEED_FORWARD: _prune_feed_forward,
    PRUNE_WIDTH: _prune_width,
    DROP_LAYER: _drop_layer,
}


def _matrices(parent: Architecture) -> Sequence[tuple[int, int]]:
    """(layer, stack)"""
    return [
        (at, stack)
        for at, layer in enumerate(parent.layers)
        for stack in range(len(layer.feed_forward))
    ]


def _named(parent: Architecture, layer: int, stack: int) -> str:
    widths = parent.layers[layer].feed_forward
    return f"{widths[stack]}" if len(widths) == 1 else f"{stack} of {list(widths)}"


def _heads(count: int) -> str:
    return f"{count} head{'s' if count > 1 else ''}"
