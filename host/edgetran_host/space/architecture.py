"""What a transformer looks like, layer by layer; the one value every part agrees on.

Source: the FlexiBERT 2.0 dictionaries `{"l", "o", "h", "f"}`. A head is written
`type_parameter_dim`, e.g. `c_9_64`; all heads of a layer share one dim. Any
architecture that keeps the rules below is valid, on the lattice or off it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_protos.errors import ArchitectureError

HEAD_KINDS = ("sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13")
"""In canonical order: the heads of a layer are sorted by it."""


@dataclass(frozen=True)
class Layer:
    hidden: int  # h
    heads: tuple[str, ...]  # kinds, in canonical order
    head_size: int  # d, shared by the layer's heads
    feed_forward: tuple[int, ...]  # widths of the stack, in order

    @property
    def attention_width(self) -> int:
        """A = n * d; may be below `hidden`."""
        return len(self.heads) * self.head_size


@dataclass(frozen=True)
class Architecture:
    layers: tuple[Layer, ...]

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Architecture:
        """Reads the published format. Raises ArchitectureError naming layer and rule."""
        missing = {"l", "o", "h", "f"} - set(raw)
        if missing:
            raise ArchitectureError(
                f"architecture lacks {', '.join(sorted(missing))}",
                hint='it needs {"l": layers, "o": heads, "h": hidden sizes, "f": stacks}',
            )
        count = raw["l"]
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ArchitectureError(f"l must be a whole number from 1, got {count!r}")
        for key in "ohf":
            if not isinstance(raw[key], (list, tuple)) or len(raw[key]) != count:
                raise ArchitectureError(f"{key} must list {count} layers, as l says")
        return Architecture(
            tuple(
                _layer(index, raw["h"][index], raw["o"][index], raw["f"][index])
                for index in range(count)
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """The published format, heads in canonical order."""
        return {
            "l": len(self.layers),
            "o": [[f"{kind}_{layer.head_size}" for kind in layer.heads] for layer in self.layers],
            "h": [layer.hidden for layer in self.layers],
            "f": [list(layer.feed_forward) for layer in self.layers],
        }


def _layer(index: int, hidden: Any, heads: Any, stack: Any) -> Layer:
    def wrong(rule: str) -> ArchitectureError:
        return ArchitectureError(f"layer {index}: {rule}")

    if not _positive(hidden):
        raise wrong(f"hidden size must be a whole number from 1, got {hidden!r}")
    if not isinstance(heads, (list, tuple)) or not heads:
        raise wrong("needs at least one head")
    if not isinstance(stack, (list, tuple)) or not stack or not all(map(_positive, stack)):
        raise wrong(f"feed-forward stack must list widths from 1, got {stack!r}")
    kinds, sizes = [], set()
    for head in heads:
        kind, _, size = str(head).rpartition("_")
        if kind not in HEAD_KINDS:
            raise ArchitectureError(
                f"layer {index}: {head!r} is no head",
                hint=f"write kind_dim, kind one of {', '.join(HEAD_KINDS)}",
            )
        if not size.isdecimal() or int(size) < 1:
            raise wrong(f"head {head!r} has no size")
        kinds.append(kind)
        sizes.add(int(size))
    if len(sizes) > 1:
        raise wrong(f"all heads of a layer share one size, got {sorted(sizes)}")
    return Layer(
        hidden=hidden,
        heads=tuple(sorted(kinds, key=HEAD_KINDS.index)),
        head_size=sizes.pop(),
        feed_forward=tuple(stack),
    )


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
