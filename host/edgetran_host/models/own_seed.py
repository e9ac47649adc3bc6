"""A model of ours as a seed: what `edgetran pretrain` left, or a folder that `save_model` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgetran_protos.errors import UsageError
from torch import Tensor

from edgetran_host.models.checkpoint import CONFIG, load_model
from edgetran_host.models.config import ModelConfig

PRETRAINING = "pretraining.json"  # the request of a pre-training, in its folder
MODEL = "model"  # and its result
HEAD = "classifier."


@dataclass(frozen=True)
class OwnSeed:
    config: ModelConfig
    state: Mapping[str, Tensor]  # with a classifier unless masked words are all it was asked
    tokenizer_json: bytes


def read_own(folder: Path) -> OwnSeed | None:
    """None: the folder holds no model of ours. Raises UsageError where it is not finished."""
    if (folder / PRETRAINING).is_file():
        if not (folder / MODEL).is_dir():
            raise UsageError(
                f"the pre-training in {folder} is not finished",
                hint="give its `edgetran pretrain` again; it continues",
            )
        return _read(folder / MODEL, classifier=False)
    if not _is_ours(folder / CONFIG):
        return None
    return _read(folder, classifier=not (folder.parent / PRETRAINING).is_file())


def _is_ours(file: Path) -> bool:
    try:
        raw = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False  # whoever reads it as another's says what is wrong
    return isinstance(raw, dict) and "architecture" in raw and "model_type" not in raw


def _read(folder: Path, *, classifier: bool) -> OwnSeed:
    model, tokenizer_json = load_model(folder)
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if classifier or not name.startswith(HEAD)
    }
    return OwnSeed(model.config, state, tokenizer_json)
