"""A foreign encoder's weights under our names: all of them, and nothing that is not known."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from edgetran_protos.errors import UsageError
from torch import Tensor

from edgetran_host.models.family import Family
from edgetran_host.models.foreign_config import HINT, Foreign
from edgetran_host.models.text_model import TextModel

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
OLD_LEAVES = {"gamma": "weight", "beta": "bias"}  # LayerNorms of the first BERTs
POSITIONS, TOKEN_TYPES = "embedding.position.weight", "embedding.token_type.weight"
SHOWN = 3  # names in an error


def read_state(folder: Path, foreign: Foreign) -> dict[str, Tensor]:
    """TextModel's names, float32; pooler and classifier where the checkpoint has them.

    Raises UsageError listing what is missing, unknown, or of another shape.
    """
    family, classifier = foreign.family, foreign.has_classifier
    found = {_bare(family, name): tensor for name, tensor in _weights(folder).items()}
    shapes = _shapes(foreign, found)
    theirs = {ours: family.their_name(ours, classifier) for ours in shapes}
    _check_names(family, found, set(theirs.values()), folder)
    for ours, shape in shapes.items():
        if tuple(found[theirs[ours]].shape) != shape:
            raise UsageError(
                f"{folder}: {theirs[ours]} is {tuple(found[theirs[ours]].shape)}, "
                f"config.json says {shape}",
                hint=HINT,
            )
    state = {ours: found[name].float() for ours, name in theirs.items()}
    state[POSITIONS] = state[POSITIONS][foreign.unused_positions :]
    if not family.token_types:
        state[TOKEN_TYPES] = torch.zeros(1, foreign.config.table_width)
    return state


def _shapes(foreign: Foreign, found: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Of the tensors that the checkpoint has to have."""
    family, config = foreign.family, foreign.config
    pooled = config.pooling == "cls" or (
        family.pooler is not None and any(name.startswith(f"{family.pooler}.") for name in found)
    )
    with torch.device("meta"):
        whole = TextModel(replace(config, pooling="cls" if pooled else "mean")).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in whole.items()}
    if not foreign.has_classifier:
        del shapes["classifier.weight"], shapes["classifier.bias"]
    if not family.token_types:
        del shapes[TOKEN_TYPES]
    positions, width = shapes[POSITIONS]
    shapes[POSITIONS] = (positions + foreign.unused_positions, width)
    return shapes


def _check_names(
    family: Family, found: Collection[str], wanted: Collection[str], folder: Path
) -> None:
    missing = [name for name in sorted(wanted) if name not in found]
    unknown = [
        name
        for name in sorted(found)
        if name not in wanted and not any(re.match(pattern, name) for pattern in family.unread)
    ]
    wrong = [
        f"{verb} {_listed(names)}"
        for verb, names in (("lack", missing), (f"hold, unknown to {family.model_type},", unknown))
        if names
    ]
    if wrong:
        raise UsageError(
            f"{folder}: the weights {' and '.join(wrong)}",
            hint="use the weights that belong to this config.json, without adapters",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    if len(names) == 1:
        return shown
    return f"{len(names)} tensors ({shown}{', ...' if len(names) > SHOWN else ''})"


def _bare(family: Family, name: str) -> str:
    module, dot, leaf = name.removeprefix(family.prefix).rpartition(".")
    return module + dot + OLD_LEAVES.get(leaf, leaf)


def _weights(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHT_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            if file.suffix == ".safetensors":
                return dict(safetensors.torch.load_file(file))
            found = torch.load(file, map_location="cpu", weights_only=True)
            return {key: value for key, value in found.items() if isinstance(value, Tensor)}
        except Exception as error:  # damaged pickles raise nearly everything
            raise UsageError(f"{file} is not readable: {error}", hint=HINT) from error
    raise UsageError(f"{folder} has none of {', '.join(WEIGHT_FILES)}", hint=HINT)
