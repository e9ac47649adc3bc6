"""Maps between any two architectures of a space, where no edit says what became of what.

`prefix_map` is the published way: layers, heads, channels and neurons by position, the
first of each. `nearest_map` spreads layers evenly, matches heads by kind and order and
copies hidden channels where the width grows; given a saliency it keeps the most salient
heads, neurons and hidden channels instead of the first, which is `salient_map`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from edgetran_protos.errors import ArchitectureError
from torch import Tensor

from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.transfer.axis import Picked, Units
from edgetran_host.transfer.fitting import changes_width, letter, spaces
from edgetran_host.transfer.plan import check_saliency, most_salient
from edgetran_host.transfer.saliency import Saliency
from edgetran_host.transfer.weight_map import WeightMap

Choose = Callable[[int, int, int], Units]  # the parent's layer and stack, a width -> its neurons


def prefix_map(
    parent: Architecture, child: Architecture, tokens: Sequence[int] | None = None
) -> WeightMap:
    """The first of everything; a head is new where the kind at its place has another letter."""
    shared = min(len(parent.layers), len(child.layers))
    layers: Units = (*range(shared), *(None,) * (len(child.layers) - shared))
    heads = tuple(
        _heads_by_place(parent.layers[index] if index < shared else None, shape)
        for index, shape in enumerate(child.layers)
    )

    def neurons(layer: int, stack: int, width: int) -> Units:
        return first(parent.layers[layer].feed_forward[stack], width)

    return dataclasses.replace(
        _map(parent, child, layers, heads, neurons),
        hidden=tuple(
            _or_all(first(parent.layers[space].hidden, shape.hidden), parent.layers[space].hidden)
            for space, shape in zip(spaces(layers), child.layers)
        ),
        tokens=None if tokens is None else tuple(tokens),
        taps="interpolated",
    )


def nearest_map(
    parent: Architecture,
    child: Architecture,
    layers: Units | None = None,
    saliency: Saliency | None = None,
    tokens: Sequence[int] | None = None,
    rotation: int | None = None,
) -> WeightMap:
    """`layers` names the parent's layer for each of the child's, None for a new one.

    `rotation` seeds a rotation for each changed hidden size, in place of channels.
    """
    if saliency is not None:
        check_saliency(parent, saliency)
    given = align_layers(parent, child) if layers is None else layers
    _check_alignment(given, len(parent.layers), len(child.layers))
    heads = tuple(
        (None,) * len(shape.heads)
        if source is None
        else _nearest_heads(
            parent.layers[source], shape, None if saliency is None else saliency.heads[source]
        )
        for source, shape in zip(given, child.layers)
    )

    def neurons(layer: int, stack: int, width: int) -> Units:
        available = parent.layers[layer].feed_forward[stack]
        if saliency is None or width >= available:
            return first(available, width)
        return most_salient(saliency.feed_forward[layer][stack], range(available), width)

    hidden = tuple(
        None if rotation is not None else _hidden(parent, space, shape.hidden, saliency)
        for space, shape in zip(spaces(given), child.layers)
    )
    return dataclasses.replace(
        _map(parent, child, given, heads, neurons),
        hidden=hidden,
        tokens=None if tokens is None else tuple(tokens),
        rotation=rotation,
    )


def salient_map(
    parent: Architecture,
    child: Architecture,
    saliency: Saliency,
    layers: Units | None = None,
    tokens: Sequence[int] | None = None,
) -> WeightMap:
    return nearest_map(parent, child, layers, saliency, tokens)


def align_layers(parent: Architecture, child: Architecture) -> Units:
    """The shorter one's layers spread over the longer's: the first, the last, evenly between."""
    old, new = len(parent.layers), len(child.layers)
    if new <= old:
        return tuple(i * (old - 1) // max(new - 1, 1) for i in range(new))
    places = {i * (new - 1) // max(old - 1, 1): i for i in range(old)}
    return tuple(places.get(i) for i in range(new))


def first(available: int, count: int) -> Units:
    """The first units, new ones beyond."""
    return tuple(unit if unit < available else None for unit in range(count))


def _map(
    parent: Architecture,
    child: Architecture,
    layers: Units,
    heads: tuple[Units, ...],
    neurons: Choose,
) -> WeightMap:
    """Matrices of a stack by position; what is beyond the parent's copies what enters it."""
    stacks: list[Units] = []
    all_neurons: list[tuple[Units, ...]] = []
    channels: list[Units | None] = []
    for source, shape in zip(layers, child.layers):
        widths = shape.feed_forward
        if source is None:
            stacks.append((None,) * len(widths))
            all_neurons.append(tuple((None,) * width for width in widths))
            channels.append(None)
            continue
        whole = parent.layers[source]
        known = min(len(widths), len(whole.feed_forward))
        stacks.append((*range(known), *(None,) * (len(widths) - known)))
        all_neurons.append(
            tuple(
                neurons(source, stack, width) if stack < known else first(widths[stack - 1], width)
                for stack, width in enumerate(widths)
            )
        )
        channels.append(_or_all(first(whole.head_size, shape.head_size), whole.head_size))
    return WeightMap(
        layers=layers,
        heads=heads,
        stacks=tuple(stacks),
        neurons=tuple(all_neurons),
        channels=tuple(channels),
        hidden=(None,) * len(layers),
    )


def _heads_by_place(whole: Layer | None, shape: Layer) -> Units:
    kinds = () if whole is None else whole.heads
    return tuple(
        at if at < len(kinds) and letter(kinds[at]) == letter(kind) else None
        for at, kind in enumerate(shape.heads)
    )


def _nearest_heads(whole: Layer, shape: Layer, scores: Tensor | None) -> Units:
    """Heads of the same kind first, then others of its letter, each once."""
    taken: dict[int, int] = {}  # the child's head -> the parent's
    for alike in (lambda one, other: one == other, lambda one, other: letter(one) == letter(other)):
        for kind in HEAD_KINDS:
            free = [i for i, found in enumerate(whole.heads) if alike(found, kind)]
            free = [i for i in free if i not in taken.values()]
            wanting = [i for i, found in enumerate(shape.heads) if found == kind and i not in taken]
            kept: Units = tuple(free[: len(wanting)])
            if scores is not None and free:
                kept = most_salient(scores, free, min(len(wanting), len(free)))
            taken.update({at: head for at, head in zip(wanting, kept) if head is not None})
    return tuple(taken.get(at) for at in range(len(shape.heads)))


def _hidden(
    parent: Architecture, space: int, count: int, saliency: Saliency | None
) -> Units | None:
    """One choice for all layers that share their channels, since no projection parts them."""
    available = parent.layers[space].hidden
    if count == available:
        return None
    if count > available or saliency is None or not saliency.hidden:
        return Picked.cyclic(available, count).units
    sharing = [
        layer
        for layer in range(len(parent.layers))
        if not changes_width(parent, min(layer, space), max(layer, space))
    ]
    scores = torch.stack([saliency.hidden[layer] for layer in sharing]).sum(dim=0)
    return most_salient(scores, range(available), count)


def _or_all(units: Units, available: int) -> Units | None:
    return None if units == tuple(range(available)) else units


def _check_alignment(layers: Units, available: int, wanted: int) -> None:
    known = [layer for layer in layers if layer is not None]
    ascending = known == sorted(set(known)) and all(0 <= layer < available for layer in known)
    if len(layers) != wanted or not ascending:
        raise ArchitectureError(
            f"{list(layers)} does not align {wanted} layers",
            hint=f"name {wanted} layers, ascending from 0 to {available - 1}, None for a new one",
        )
