"""A foreign encoder's config.json as a ModelConfig, or why it cannot be one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.family import Family, family_of
from edgetran_host.space.architecture import Architecture, Layer

HINT = (
    "a seed is a folder with an encoder's config.json, model.safetensors and tokenizer.json, "
    "as the transformers library writes them"
)
SIZES = ("hidden", "heads", "layers", "feed_forward")
DEFAULTS = {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "dropout": 0.1}  # the library's
DEFAULT_LABELS = 2  # the library's
MEAN_CLASSIFIER = "edgetran_classifier"  # in config.json: a classifier on the mean of all tokens


@dataclass(frozen=True)
class Foreign:
    """config.pooling and config.outputs are the classifier's, where there is one."""

    family: Family
    config: ModelConfig
    has_classifier: bool

    @property
    def unused_positions(self) -> int:
        """Rows in front of the position table that no text reads."""
        return self.config.pad_id + 1 if self.family.pads_positions else 0


def read_config(folder: Path) -> Foreign:
    """Raises UsageError naming the field that does not fit."""
    file = folder / "config.json"
    raw = read_json(file)
    family = family_of(raw.get("model_type"), folder)
    try:
        _require(family, raw, folder)
        return _foreign(family, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file}: cannot use {error}", hint=HINT) from error


def read_json(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{file} is missing", hint=HINT) from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}", hint=HINT) from error
    if not isinstance(raw, dict):
        raise UsageError(f"{file} is not a JSON object", hint=HINT)
    return raw


def _foreign(family: Family, raw: Mapping[str, Any]) -> Foreign:
    given = {ours: raw.get(theirs[0]) for ours, theirs in family.settings.items()}
    settings = {**DEFAULTS, **{ours: value for ours, value in given.items() if value is not None}}
    hidden, heads = int(settings["hidden"]), int(settings["heads"])
    layer = Layer(hidden, ("sa_sdp",) * heads, hidden // heads, (int(settings["feed_forward"]),))
    width = int(settings.get("embedding_width", hidden))
    pad_id = int(settings.get("pad_id", 1 if family.pads_positions else 0))
    positions = int(settings["max_positions"]) - (pad_id + 1 if family.pads_positions else 0)
    on_mean = raw.get(MEAN_CLASSIFIER) == "mean"
    has_classifier = on_mean or family.classifier_class in (raw.get("architectures") or ())
    config = ModelConfig(
        architecture=Architecture((layer,) * int(settings["layers"])),
        vocab_size=int(settings["vocab_size"]),
        positions="absolute",
        max_positions=positions,
        type_vocab_size=int(settings["type_vocab_size"]) if family.token_types else 1,
        pad_id=pad_id,
        layer_norm_eps=family.norm_eps or float(settings["layer_norm_eps"]),
        dropout=float(settings["dropout"]),
        pooling="mean" if on_mean or not has_classifier else "cls",
        outputs=len(raw.get("id2label") or range(DEFAULT_LABELS)) if has_classifier else 1,
        sequence_length=positions,
        embedding_width=None if width == hidden else width,
        pooler_activation=family.pooler_activation,
    )
    return Foreign(family, config, has_classifier)


def _require(family: Family, raw: Mapping[str, Any], folder: Path) -> None:
    for key, wanted in family.fixed.items():
        found = raw.get(key, wanted)
        if found != wanted:
            raise UsageError(
                f"{folder}: {key} is {found!r}, a seed needs {wanted!r}",
                hint="only encoders with exact GELU and absolute positions fit",
            )
    if raw.get("pruned_heads"):
        raise UsageError(
            f"{folder}: pruned_heads is {raw['pruned_heads']!r}, a seed needs all of its heads",
            hint="use the encoder before its heads were pruned; the search drops heads itself",
        )
    for ours in (*SIZES, *({"embedding_width"} & family.settings.keys())):
        theirs = family.settings[ours][0]
        if int(raw[theirs]) < 1:
            raise UsageError(
                f"{folder}: {theirs} must be at least 1, got {raw[theirs]!r}", hint=HINT
            )
    hidden, heads = (family.settings[ours][0] for ours in ("hidden", "heads"))
    if int(raw[hidden]) % int(raw[heads]):
        raise UsageError(f"{folder}: {hidden} is no multiple of {heads}", hint=HINT)
