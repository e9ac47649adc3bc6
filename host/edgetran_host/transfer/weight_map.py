"""Which part of the parent every part of a child comes from: an explicit value, stored with a run.

It is made by an edit (`growth`) or by a planner (`planning`, `plan`), and names the
parent's parts by their index, so that adding or dropping one part never shifts another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.space.architecture import Architecture
from edgetran_host.transfer.axis import Units

TAPS = ("centred", "interpolated")


@dataclass(frozen=True)
class WeightMap:
    """Entries by the child's layers; an index names a part of the parent, None a new part.

    layers    ascending; a new layer has new heads, stacks and neurons only
    heads     of the parent's layer; kinds of one letter (sa, l, c) share their weights
    stacks    the parent's feed-forward matrices, ascending
    neurons   of the parent's matrix; of a new matrix: copies of the child's units that enter it
    channels  inside a head, the same for all heads of the layer; None: all, in order
    hidden    a new layer: of the parent's layer before it; None: all, in order
    tokens    in the child's order; None: the whole vocabulary
    taps      'centred': taps keep their distance; 'interpolated': they are stretched
    rotation  seed of the one rotation for each changed hidden size whose `hidden` is None
    """

    layers: Units
    heads: tuple[Units, ...]
    stacks: tuple[Units, ...]
    neurons: tuple[tuple[Units, ...], ...]
    channels: tuple[Units | None, ...]
    hidden: tuple[Units | None, ...]
    tokens: tuple[int, ...] | None = None
    taps: str = "centred"
    rotation: int | None = None

    @staticmethod
    def identity(architecture: Architecture) -> WeightMap:
        layers = architecture.layers
        return WeightMap(
            layers=tuple(range(len(layers))),
            heads=tuple(tuple(range(len(layer.heads))) for layer in layers),
            stacks=tuple(tuple(range(len(layer.feed_forward))) for layer in layers),
            neurons=tuple(
                tuple(tuple(range(width)) for width in layer.feed_forward) for layer in layers
            ),
            channels=(None,) * len(layers),
            hidden=(None,) * len(layers),
        )

    def to_json(self) -> dict[str, Any]:
        """Lists, numbers, strings and nulls only."""
        return {
            field.name: _listed(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> WeightMap:
        """Reads `to_json`. Raises UsageError on missing, unknown or malformed fields."""
        if not isinstance(raw, Mapping):
            raise UsageError("a weight map must be a JSON object")
        if set(raw) != set(DEPTHS):
            odd = sorted(set(raw) ^ set(DEPTHS))
            raise UsageError(
                f"a weight map has exactly the fields {', '.join(DEPTHS)}; see {', '.join(odd)}"
            )
        fields = {name: _read(name, raw[name], depth) for name, depth in DEPTHS.items()}
        if fields["taps"] not in TAPS:
            raise UsageError(f"weight map: taps must be one of {TAPS}, got {fields['taps']!r}")
        return WeightMap(**fields)


DEPTHS = {  # how deep the lists of a field nest
    "layers": 1,
    "heads": 2,
    "stacks": 2,
    "neurons": 3,
    "channels": 2,
    "hidden": 2,
    "tokens": 1,
    "taps": 0,
    "rotation": 0,
}
OPTIONAL = ("tokens", "channels", "hidden")  # None stands for a whole list of indices


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _read(name: str, value: Any, depth: int) -> Any:
    if depth == 0:
        if name != "taps" and not (value is None or _index(value)):
            raise _malformed(name, value)
        return value
    if value is None and depth == 1 and name in OPTIONAL:
        return None
    if not isinstance(value, list):
        raise _malformed(name, value)
    if depth > 1:
        return tuple(_read(name, part, depth - 1) for part in value)
    for part in value:
        if not (_index(part) or (part is None and name != "tokens")):
            raise _malformed(name, part)
    return tuple(value)


def _index(value: Any) -> bool:
    return type(value) is int and value >= 0


def _malformed(name: str, value: Any) -> UsageError:
    return UsageError(f"weight map: {name} holds {value!r}, which is no list of indices")
