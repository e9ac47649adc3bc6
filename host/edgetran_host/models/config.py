"""Everything that, beside its weights, decides what a model computes; stored with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.space.architecture import Architecture

POSITIONS = ("absolute", "relative")
POOLINGS = ("cls", "mean")
POOLER_ACTIVATIONS = ("tanh", "relu", "gelu")


@dataclass(frozen=True)
class ModelConfig:
    """A model without its weights.

    positions          'absolute': added in the embedding; 'relative': one table a layer
    pooling            'cls': pooler on the first token; 'mean': mean of the real tokens
    sequence_length    L: inputs are padded to it, and transforms are built for it
    lt_scale           DFT and DCT divided by sqrt(L*d) and 2*sqrt(L*d), so that fp16 holds them
    embedding_width    of the embedding's tables, with a projection behind them; None: no
                       projection, the tables are as wide as the first layer
    pooler_activation  of the 'cls' pooler; 'tanh' but in some foreign checkpoints
    legacy_sa_zero     sa heads give zeros; only for foreign checkpoints trained that way
    """

    architecture: Architecture
    vocab_size: int
    positions: str
    max_positions: int
    type_vocab_size: int
    pad_id: int
    layer_norm_eps: float
    dropout: float
    pooling: str
    outputs: int
    sequence_length: int
    lt_scale: bool = True
    embedding_width: int | None = None
    pooler_activation: str = "tanh"
    legacy_sa_zero: bool = False

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise UsageError(f"positions must be one of {POSITIONS}, got {self.positions!r}")
        if self.pooling not in POOLINGS:
            raise UsageError(f"pooling must be one of {POOLINGS}, got {self.pooling!r}")
        if self.pooler_activation not in POOLER_ACTIVATIONS:
            raise UsageError(
                f"pooler_activation must be one of {POOLER_ACTIVATIONS}, "
                f"got {self.pooler_activation!r}"
            )
        if self.embedding_width is not None and self.embedding_width < 1:
            raise UsageError(f"embedding_width must be at least 1, got {self.embedding_width!r}")
        for name in ("vocab_size", "type_vocab_size", "outputs", "sequence_length"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if not 0 <= self.pad_id < self.vocab_size:
            raise UsageError(f"pad_id {self.pad_id} is outside a vocabulary of {self.vocab_size}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must be from 0 to below 1, got {self.dropout!r}")
        if not 0 < self.layer_norm_eps < 1:
            raise UsageError(f"layer_norm_eps must be above 0, got {self.layer_norm_eps!r}")
        if self.sequence_length > self.max_positions:
            raise UsageError(
                f"sequence length {self.sequence_length} exceeds the model's "
                f"{self.max_positions} positions",
                hint=f"choose a sequence length up to {self.max_positions}",
            )

    @property
    def table_width(self) -> int:
        """Of the embedding's tables."""
        return self.embedding_width or self.architecture.layers[0].hidden

    def to_json(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**plain, "architecture": self.architecture.to_dict()}

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> ModelConfig:
        """Reads `to_json`. Raises UsageError on missing, unknown or malformed fields."""
        if not isinstance(raw, Mapping):
            raise UsageError("model configuration must be a JSON object")
        fields = {field.name: field for field in dataclasses.fields(ModelConfig)}
        needed = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
        if missing := sorted(needed - set(raw)):
            raise UsageError(f"model configuration lacks {', '.join(missing)}")
        if unknown := sorted(set(raw) - set(fields)):
            raise UsageError(f"model configuration has unknown fields: {', '.join(unknown)}")
        for name in set(raw) - {"architecture"}:
            if not _fits(raw[name], str(fields[name].type)):
                kind = fields[name].type
                raise UsageError(f"model configuration: {name} must be {kind}, got {raw[name]!r}")
        if not isinstance(raw["architecture"], Mapping):
            raise UsageError("model configuration: architecture must be an object")
        return ModelConfig(**{**raw, "architecture": Architecture.from_dict(raw["architecture"])})


def _fits(value: object, kind: str) -> bool:
    if value is None:
        return kind.endswith(" | None")
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value).__name__ == kind.removesuffix(" | None")
