"""Says whether a map leads from one model to another; if not, which layer and rule it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise

from edgetran_protos.errors import ArchitectureError

from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer.axis import Axis, Picked, Rotated, Units
from edgetran_host.transfer.weight_map import WeightMap

MAPPED = ("architecture", "vocab_size", "pad_id", "max_positions")  # what a map may change
FREE = ("dropout", "sequence_length")  # shape no weight
MAP_HINT = "make the map for these two architectures, with `nearest_map` for instance"
LOST_HINT = "keep the layers on both sides of a change of width"


def letter(kind: str) -> str:
    """sa, l or c: heads of one letter share their weights."""
    return kind.partition("_")[0]


def spaces(layers: Units) -> tuple[int, ...]:
    """A child's layer -> the parent's layer whose hidden channels it works on.

    A new layer works on those of the parent's layer before it; at the front, on the
    embedding's, which are those of layer 0.
    """
    found, at = [], 0
    for source in layers:
        at = at if source is None else source
        found.append(at)
    return tuple(found)


def hidden_axis(parent: Architecture, weights: WeightMap, child: Architecture, index: int) -> Axis:
    """Of a layer that `check_fit` has passed."""
    whole = parent.layers[spaces(weights.layers)[index]].hidden
    wanted, units = child.layers[index].hidden, weights.hidden[index]
    if units is not None:
        return Picked(units)
    if whole == wanted or weights.rotation is None:
        return Picked.whole(whole)
    return Rotated.between(whole, wanted, weights.rotation)


def changes_width(parent: Architecture, first: int, last: int) -> bool:
    """Whether a projection follows one of the layers first to last - 1."""
    hidden = [layer.hidden for layer in parent.layers[first : last + 1]]
    return any(one != other for one, other in pairwise(hidden))


def lost_widths(parent: Architecture, weights: WeightMap, child: Architecture) -> tuple[int, ...]:
    """Parent's layers after which a change of width has no place between two of the child's."""
    at = spaces(weights.layers)
    return tuple(
        here
        for (here, following), (one, other) in zip(pairwise(at), pairwise(child.layers))
        if one.hidden == other.hidden and changes_width(parent, here, following)
    )


def check_fit(parent: ModelConfig, weights: WeightMap, child: ModelConfig) -> None:
    """Raises ArchitectureError naming the layer, the rule and what would be possible."""
    _check_configs(parent, weights, child)
    old, new = parent.architecture, child.architecture
    _check_layers(weights, len(old.layers), len(new.layers))
    at = spaces(weights.layers)
    if changes_width(old, 0, at[0]):
        raise ArchitectureError(
            f"the layers dropped before layer {at[0]} change the width, which would be lost",
            hint=LOST_HINT,
        )
    for index, shape in enumerate(new.layers):
        _check_layer(old, weights, index, shape, at[index])
    for index, (one, other) in enumerate(pairwise(new.layers)):
        if one.hidden != other.hidden or changes_width(old, at[index], at[index + 1]):
            continue
        here, there = (hidden_axis(old, weights, new, i) for i in (index, index + 1))
        if isinstance(here, Picked) and here != there:
            raise ArchitectureError(
                f"layers {index} and {index + 1} are joined without a projection, "
                "but keep different hidden channels",
                hint="keep the same channels in layers of one hidden size",
            )


def _check_configs(parent: ModelConfig, weights: WeightMap, child: ModelConfig) -> None:
    tokens = weights.tokens
    names = [field.name for field in fields(ModelConfig)]
    wanted = {name: getattr(parent, name) for name in names if name not in (*MAPPED, *FREE)}
    wanted["vocab_size"] = parent.vocab_size if tokens is None else len(tokens)
    if tokens is not None:
        if parent.pad_id not in tokens:
            raise ArchitectureError(
                f"the padding token {parent.pad_id} must be kept", hint="add it to the tokens"
            )
        if len(set(tokens)) != len(tokens) or not _below(tokens, parent.vocab_size):
            raise ArchitectureError(
                f"tokens must be distinct ids below {parent.vocab_size}",
                hint="name each token once, by the parent's id",
            )
    wanted["pad_id"] = parent.pad_id if tokens is None else tokens.index(parent.pad_id)
    for name, value in wanted.items():
        found = getattr(child, name)
        if found != value:
            raise ArchitectureError(
                f"the child's {name} is not what the map makes: {found}, not {value}",
                hint=f"weights can be taken over only with {name} {value}",
            )
    if child.max_positions > parent.max_positions:
        raise ArchitectureError(
            f"the child's {child.max_positions} positions exceed {parent.max_positions}",
            hint=f"choose max_positions up to {parent.max_positions}",
        )


def _check_layers(weights: WeightMap, available: int, wanted: int) -> None:
    for name in ("layers", "heads", "stacks", "neurons", "channels", "hidden"):
        count = len(getattr(weights, name))
        if count != wanted:
            raise ArchitectureError(
                f"the map's {name} are those of {count} layers, the child has {wanted}",
                hint=MAP_HINT,
            )
    _check_ascending("layers", weights.layers, available)


def _check_layer(
    old: Architecture, weights: WeightMap, index: int, shape: Layer, space: int
) -> None:
    source = weights.layers[index]
    place = f"layer {index}, new" if source is None else f"layer {index} from layer {source}"
    whole = None if source is None else old.layers[source]
    try:
        _check_heads(whole, weights.heads[index], shape)
        _check_channels(whole, weights.channels[index], shape)
        _check_stacks(whole, weights.stacks[index], weights.neurons[index], shape)
        _check_hidden(old.layers[space].hidden, weights, index, shape.hidden)
    except ArchitectureError as error:
        raise ArchitectureError(f"{place}: {error}", hint=error.hint) from error


def _check_heads(whole: Layer | None, heads: Units, shape: Layer) -> None:
    _check_count("heads", len(heads), len(shape.heads))
    kinds = () if whole is None else whole.heads
    for kind, head in zip(shape.heads, heads):
        if head is None:
            continue
        _check_indices("heads", (head,), len(kinds))
        if letter(kinds[head]) != letter(kind):
            alike = [i for i, found in enumerate(kinds) if letter(found) == letter(kind)]
            raise ArchitectureError(
                f"a {kind} head cannot come from head {head}, a {kinds[head]}",
                hint=f"possible are heads {alike}, or a new head",
            )


def _check_channels(whole: Layer | None, channels: Units | None, shape: Layer) -> None:
    size = shape.head_size if whole is None else whole.head_size
    if channels is None:
        if size != shape.head_size:
            raise ArchitectureError(
                f"head size {shape.head_size} differs from {size}",
                hint=f"name the {shape.head_size} channels to take, or a head size of {size}",
            )
        return
    _check_count("channels", len(channels), shape.head_size)
    _check_indices("channels", channels, size)
    known = [channel for channel in channels if channel is not None]
    if len(set(known)) != len(known):
        raise ArchitectureError(
            "a head's channel is taken twice", hint="scores sum over channels: take each once"
        )


def _check_stacks(
    whole: Layer | None, stacks: Units, neurons: Sequence[Units], shape: Layer
) -> None:
    widths = shape.feed_forward
    _check_count("stacks", len(stacks), len(widths))
    _check_count("stacks of neurons", len(neurons), len(widths))
    available = () if whole is None else whole.feed_forward
    _check_ascending("stacks", stacks, len(available))
    entering = shape.hidden
    for stack, units, width in zip(stacks, neurons, widths):
        _check_count("neurons", len(units), width)
        copied = 0 if whole is None else entering
        _check_indices("neurons", units, copied if stack is None else available[stack])
        entering = width


def _check_hidden(whole: int, weights: WeightMap, index: int, wanted: int) -> None:
    units = weights.hidden[index]
    if units is not None:
        _check_count("hidden channels", len(units), wanted)
        _check_indices("hidden channels", units, whole)
    elif whole != wanted and weights.rotation is None:
        raise ArchitectureError(
            f"hidden size {wanted} differs from {whole}",
            hint=f"name the {wanted} channels to take, give a rotation, or keep {whole}",
        )


def _check_count(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ArchitectureError(f"the map names {found} {what}, the child has {wanted}")


def _check_indices(what: str, units: Units, available: int) -> None:
    wrong = [unit for unit in units if unit is not None and not _below((unit,), available)]
    if wrong:
        possible = f"0 to {available - 1}, or new ones, are" if available else "only new ones are"
        raise ArchitectureError(f"{what} {wrong[:5]} do not exist", hint=f"{possible} possible")


def _below(indices: Sequence[int], limit: int) -> bool:
    return all(0 <= index < limit for index in indices)


def _check_ascending(what: str, units: Units, available: int) -> None:
    _check_indices(what, units, available)
    known = [unit for unit in units if unit is not None]
    if known != sorted(set(known)):
        raise ArchitectureError(
            f"{what} must ascend, got {list(units)}", hint=f"keep the parent's order of {what}"
        )
