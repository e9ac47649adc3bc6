"""Edits that make a model larger, each with the map that keeps what the model computes.

A new head of any kind, new neurons and a new feed-forward matrix at least as wide as
what enters it change no output but for rounding. Nor does a new layer, unless a change
of width comes before it; see `transfer` and `feed_forward` for why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgetran_protos.errors import ArchitectureError

from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.transfer.weight_map import WeightMap

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Edit:
    """The larger architecture, and where its parts come from."""

    architecture: Architecture
    weights: WeightMap


def add_heads(parent: Architecture, layer: int, kinds: Sequence[str]) -> Edit:
    """New heads of the layer's head size, in their canonical places."""
    whole = _layer(parent, layer)
    if odd := [kind for kind in kinds if kind not in HEAD_KINDS]:
        raise ArchitectureError(
            f"layer {layer}: {odd[0]!r} is no kind of head",
            hint=f"the kinds are {', '.join(HEAD_KINDS)}",
        )
    both: list[tuple[str, int | None]] = [(kind, head) for head, kind in enumerate(whole.heads)]
    both += [(kind, None) for kind in kinds]
    both.sort(key=lambda head: HEAD_KINDS.index(head[0]))
    weights = WeightMap.identity(parent)
    units = tuple(head for _, head in both)
    return Edit(
        _with(parent, layer, dataclasses.replace(whole, heads=tuple(kind for kind, _ in both))),
        dataclasses.replace(weights, heads=_put(weights.heads, layer, units)),
    )


def widen(parent: Architecture, layer: int, stack: int, width: int) -> Edit:
    """More neurons in one of a layer's feed-forward matrices."""
    whole = _layer(parent, layer)
    if not 0 <= stack < len(whole.feed_forward) or width < whole.feed_forward[stack]:
        raise ArchitectureError(
            f"layer {layer}: stack {stack} cannot grow to {width}",
            hint=f"the widths of the layer are {list(whole.feed_forward)}",
        )
    weights = WeightMap.identity(parent)
    units = (*range(whole.feed_forward[stack]), *(None,) * (width - whole.feed_forward[stack]))
    stacks = _put(whole.feed_forward, stack, width)
    neurons = _put(weights.neurons[layer], stack, units)
    return Edit(
        _with(parent, layer, dataclasses.replace(whole, feed_forward=stacks)),
        dataclasses.replace(weights, neurons=_put(weights.neurons, layer, neurons)),
    )


def add_stack(parent: Architecture, layer: int, width: int) -> Edit:
    """One more feed-forward matrix at the end; below the last width it keeps the first units."""
    whole = _layer(parent, layer)
    if width < 1:
        raise ArchitectureError(f"layer {layer}: a matrix cannot have {width} units")
    weights = WeightMap.identity(parent)
    last = whole.feed_forward[-1]
    units = tuple(unit if unit < last else None for unit in range(width))
    return Edit(
        _with(parent, layer, dataclasses.replace(whole, feed_forward=(*whole.feed_forward, width))),
        dataclasses.replace(
            weights,
            stacks=_put(weights.stacks, layer, (*weights.stacks[layer], None)),
            neurons=_put(weights.neurons, layer, (*weights.neurons[layer], units)),
        ),
    )


def add_layer(parent: Architecture, at: int, layer: Layer) -> Edit:
    """A new layer before the parent's layer `at`, of the hidden size of the layer before it."""
    if not 0 <= at <= len(parent.layers):
        raise ArchitectureError(
            f"there is no place {at} for a layer", hint=f"choose 0 to {len(parent.layers)}"
        )
    hidden = parent.layers[max(at - 1, 0)].hidden
    if layer.hidden != hidden:
        raise ArchitectureError(
            f"a new layer {at} has hidden size {layer.hidden}, the layer before it {hidden}",
            hint=f"give it a hidden size of {hidden}",
        )
    weights = WeightMap.identity(parent)
    new = tuple((None,) * width for width in layer.feed_forward)
    return Edit(
        Architecture((*parent.layers[:at], layer, *parent.layers[at:])),
        dataclasses.replace(
            weights,
            layers=_insert(weights.layers, at, None),
            heads=_insert(weights.heads, at, (None,) * len(layer.heads)),
            stacks=_insert(weights.stacks, at, (None,) * len(new)),
            neurons=_insert(weights.neurons, at, new),
            channels=_insert(weights.channels, at, None),
            hidden=_insert(weights.hidden, at, None),
        ),
    )


def _layer(parent: Architecture, index: int) -> Layer:
    if not 0 <= index < len(parent.layers):
        raise ArchitectureError(
            f"there is no layer {index}", hint=f"choose 0 to {len(parent.layers) - 1}"
        )
    return parent.layers[index]


def _with(parent: Architecture, index: int, layer: Layer) -> Architecture:
    return Architecture(_put(parent.layers, index, layer))


def _put(entries: tuple[Entry, ...], index: int, entry: Entry) -> tuple[Entry, ...]:
    return (*entries[:index], entry, *entries[index + 1 :])


def _insert(entries: tuple[Entry, ...], index: int, entry: Entry) -> tuple[Entry, ...]:
    return (*entries[:index], entry, *entries[index:])
