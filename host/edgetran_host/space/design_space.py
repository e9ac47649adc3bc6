"""Which architectures a search may propose: the lattice of choices, read from a TOML file.

Every layer chooses a hidden size h, a multiset of n heads, and an ordered stack of
feed-forward widths; the head size is floor(h / n), or one for all in a space around a
trained model, whose heads keep theirs. An architecture off the lattice can still be built
and trained; it has no place in the space and no embedding.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgetran_protos.errors import ArchitectureError, UsageError

from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.head_sets import count_head_sets

if sys.version_info >= (3, 11):
    import tomllib
else:  # the catalogue of boards brings it
    import tomli as tomllib

FLEXIBERT2 = Path(__file__).with_name("flexibert2.toml")


@dataclass(frozen=True)
class DesignSpace:
    """Allowed values, each in ascending order (kinds in canonical order): indices count on it."""

    name: str
    layer_counts: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    head_counts: tuple[int, ...]
    head_kinds: tuple[str, ...]
    feed_forward_widths: tuple[int, ...]
    feed_forward_depths: tuple[int, ...]
    head_sizes: tuple[int, ...] = ()  # of every head, one at most; none: an equal share of h

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name not in ("name", "head_kinds", "head_sizes"):
                _check_numbers(self, field.name)
        if len(self.head_sizes) > 1:
            raise ArchitectureError(f"{self.name}: head_sizes must name one size, or none")
        if not self.head_kinds or list(self.head_kinds) != [
            kind for kind in HEAD_KINDS if kind in self.head_kinds
        ]:
            raise ArchitectureError(
                f"{self.name}: head_kinds must name some of the known kinds, in their order",
                hint=f"the known kinds are {', '.join(HEAD_KINDS)}",
            )
        if not self.head_sizes and self.head_counts[-1] > self.hidden_sizes[0]:
            raise ArchitectureError(
                f"{self.name}: {self.head_counts[-1]} heads leave no head size"
                f" in {self.hidden_sizes[0]} hidden units"
            )

    @staticmethod
    def flexibert2() -> DesignSpace:
        """The published space, 1.68589e88 architectures."""
        return DesignSpace.load(FLEXIBERT2)

    @staticmethod
    def load(path: Path) -> DesignSpace:
        """Raises UsageError for an unreadable file, ArchitectureError for an unusable space."""
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise UsageError(
                f"cannot read the design space {path}: {exc.strerror or exc}",
                hint="give the path of a TOML file like the shipped flexibert2.toml",
            ) from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise UsageError(f"the design space {path} is not TOML: {exc}") from exc
        return _from_toml(raw, path)

    @property
    def stack_count(self) -> int:
        """Ordered feed-forward stacks a layer may choose from."""
        return sum(len(self.feed_forward_widths) ** depth for depth in self.feed_forward_depths)

    @property
    def head_set_count(self) -> int:
        """Multisets of heads a layer may choose from."""
        return sum(count_head_sets(n, len(self.head_kinds)) for n in self.head_counts)

    @property
    def embedding_length(self) -> int:
        return 1 + 3 * self.layer_counts[-1]

    def head_size(self, hidden: int, heads: int) -> int:
        """Of each of so many heads in a layer."""
        return self.head_sizes[0] if self.head_sizes else hidden // heads

    def size(self) -> int:
        """How many architectures there are, exactly."""
        a_layer = self.stack_count * len(self.hidden_sizes) * self.head_set_count
        return sum(a_layer**count for count in self.layer_counts)

    def contains(self, architecture: Architecture) -> bool:
        try:
            self.validate(architecture)
        except ArchitectureError:
            return False
        return True

    def validate(self, architecture: Architecture) -> None:
        """Raises ArchitectureError naming the layer and the rule it breaks."""
        self._require("the number of layers", len(architecture.layers), self.layer_counts)
        for index, layer in enumerate(architecture.layers):
            self._validate_layer(f"layer {index}: ", layer)

    def _validate_layer(self, where: str, layer: Layer) -> None:
        self._require(where + "hidden size", layer.hidden, self.hidden_sizes)
        self._require(where + "the number of heads", len(layer.heads), self.head_counts)
        for kind in layer.heads:
            self._require(where + "head kind", kind, self.head_kinds)
        expected = self.head_size(layer.hidden, len(layer.heads))
        if layer.head_size != expected and self.head_sizes:
            raise ArchitectureError(
                f"{where}head size is {layer.head_size}, but in {self.name} it is {expected}"
            )
        if layer.head_size != expected:
            raise ArchitectureError(
                f"{where}head size is {layer.head_size}, but"
                f" floor({layer.hidden} / {len(layer.heads)}) is {expected}",
                hint="in a design space every head takes its equal share of the hidden size",
            )
        depth = len(layer.feed_forward)
        self._require(where + "feed-forward depth", depth, self.feed_forward_depths)
        for width in layer.feed_forward:
            self._require(where + "feed-forward width", width, self.feed_forward_widths)

    def _require(self, what: str, value: object, allowed: tuple[object, ...]) -> None:
        if value not in allowed:
            raise ArchitectureError(
                f"{what} is {value}, which {self.name} does not have",
                hint=f"choose one of {', '.join(map(str, allowed))}",
            )


def _check_numbers(space: DesignSpace, name: str) -> None:
    values = getattr(space, name)
    whole = all(type(value) is int and value >= 1 for value in values)  # a bool is no count
    if not values or not whole or list(values) != sorted(set(values)):
        raise ArchitectureError(
            f"{space.name}: {name} must list whole numbers from 1, ascending, got {list(values)}"
        )


def _from_toml(raw: Mapping[str, Any], path: Path) -> DesignSpace:
    known = {field.name for field in fields(DesignSpace)}
    needed = known - {"head_sizes"}
    for problem, names in (("lacks", needed - set(raw)), ("does not know", set(raw) - known)):
        if names:
            raise ArchitectureError(
                f"the design space {path} {problem} {', '.join(sorted(names))}",
                hint=f"it holds {', '.join(field.name for field in fields(DesignSpace))}",
            )
    for key in set(raw) - {"name"}:
        if not isinstance(raw[key], list):
            raise ArchitectureError(f"{path}: {key} must be a list, got {raw[key]!r}")
    if not isinstance(raw["name"], str):
        raise ArchitectureError(f"{path}: name must be a text, got {raw['name']!r}")
    values: dict[str, Any] = {key: raw[key] if key == "name" else tuple(raw[key]) for key in raw}
    return DesignSpace(**values)
