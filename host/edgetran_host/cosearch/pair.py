"""What a co-search chooses: a transformer, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id


@dataclass(frozen=True, order=True)
class Place:
    """Runtime and precision are empty where only boards differ."""

    board: str  # a unit of the catalogue, as "rpi4:cpu"
    runtime: str = ""
    precision: str = ""

    @property
    def id(self) -> str:
        """ "rpi4:cpu/onnxruntime/int8"; empty parts are left out."""
        return "/".join(part for part in (self.board, self.runtime, self.precision) if part)


@dataclass(frozen=True)
class Pair:
    architecture: Architecture
    place: Place

    @cached_property
    def id(self) -> str:
        """A stable key: the architecture's SHA-256, "@", the place."""
        return f"{architecture_id(self.architecture)}@{self.place.id}"
