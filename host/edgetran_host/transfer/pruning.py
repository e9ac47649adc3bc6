"""Edits that make a model smaller, each with the map of what stays.

Parts are named by their index in the parent, whatever else goes with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from edgetran_protos.errors import ArchitectureError

from edgetran_host.space.architecture import Architecture
from edgetran_host.transfer.growth import Edit, Entry
from edgetran_host.transfer.planning import nearest_map
from edgetran_host.transfer.saliency import Saliency
from edgetran_host.transfer.weight_map import WeightMap


def drop_heads(parent: Architecture, heads: Mapping[int, Collection[int]]) -> Edit:
    """heads: which of a layer go, by layer; one at least must stay in each."""
    layers, maps = [], []
    for index, layer in enumerate(parent.layers):
        gone = _known(index, "head", heads.get(index, ()), len(layer.heads))
        kept = tuple(at for at in range(len(layer.heads)) if at not in gone)
        layers.append(dataclasses.replace(layer, heads=tuple(layer.heads[at] for at in kept)))
        maps.append(kept)
    _check_layers(heads, parent)
    weights = dataclasses.replace(WeightMap.identity(parent), heads=tuple(maps))
    return Edit(Architecture(tuple(layers)), weights)


def drop_neurons(parent: Architecture, neurons: Mapping[tuple[int, int], Collection[int]]) -> Edit:
    """neurons: which of a matrix go, by (layer, stack); one at least must stay in each."""
    layers, maps = [], []
    for index, layer in enumerate(parent.layers):
        kept = []
        for stack, width in enumerate(layer.feed_forward):
            gone = _known(index, "neuron", neurons.get((index, stack), ()), width)
            kept.append(tuple(at for at in range(width) if at not in gone))
        layers.append(dataclasses.replace(layer, feed_forward=tuple(map(len, kept))))
        maps.append(tuple(kept))
    _check_layers({layer for layer, _ in neurons}, parent)
    weights = dataclasses.replace(WeightMap.identity(parent), neurons=tuple(maps))
    return Edit(Architecture(tuple(layers)), weights)


def drop_layer(parent: Architecture, at: int) -> Edit:
    """One layer less; its neighbours' widths must fit one another."""
    _check_layers({at}, parent)
    if len(parent.layers) == 1:
        raise ArchitectureError("the only layer cannot go", hint="drop heads or neurons instead")
    old = WeightMap.identity(parent)
    weights = WeightMap(
        layers=_without(old.layers, at),
        heads=_without(old.heads, at),
        stacks=_without(old.stacks, at),
        neurons=_without(old.neurons, at),
        channels=_without(old.channels, at),
        hidden=_without(old.hidden, at),
    )
    return Edit(Architecture(_without(parent.layers, at)), weights)


def narrow(parent: Architecture, hidden: int, saliency: Saliency) -> Edit:
    """All layers to one smaller hidden size, by their most salient channels; heads stay whole."""
    if any(layer.hidden <= hidden for layer in parent.layers) or hidden < 1:
        raise ArchitectureError(
            f"hidden size {hidden} is not below that of every layer",
            hint=f"the least is {min(layer.hidden for layer in parent.layers)}",
        )
    layers = tuple(dataclasses.replace(layer, hidden=hidden) for layer in parent.layers)
    child = Architecture(layers)
    return Edit(child, nearest_map(parent, child, saliency=saliency))


def _without(entries: tuple[Entry, ...], at: int) -> tuple[Entry, ...]:
    return entries[:at] + entries[at + 1 :]


def _known(layer: int, what: str, gone: Collection[int], count: int) -> Collection[int]:
    odd = [at for at in gone if not 0 <= at < count]
    if odd or len(set(gone)) >= count:
        raise ArchitectureError(
            f"layer {layer} has {count} {what}s, of which {sorted(gone)} cannot all go",
            hint=f"name some below {count}, and leave one",
        )
    return gone


def _check_layers(named: Collection[int], parent: Architecture) -> None:
    for layer in named:
        if not 0 <= layer < len(parent.layers):
            raise ArchitectureError(
                f"there is no layer {layer}", hint=f"choose 0 to {len(parent.layers) - 1}"
            )
