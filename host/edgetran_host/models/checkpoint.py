"""A trained model as a folder: weights, configuration and tokenizer, replaced as one.

The folder is written beside its place and renamed into it, so that a reader, or a
run that was killed, never finds half a model.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors.torch
from edgetran_protos.errors import UsageError
from safetensors import SafetensorError

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"


def save_model(model: TextModel, folder: Path, tokenizer_json: bytes) -> None:
    """Writes the model to `folder`, replacing what was there."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    files = {
        WEIGHTS: safetensors.torch.save(state),
        CONFIG: json.dumps(model.config.to_json(), indent=2).encode(),
        TOKENIZER: tokenizer_json,
    }
    replace_folder(folder, files)


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """A folder of exactly these files, in place of one that held no others."""
    folder = Path(folder)
    _require_ours(folder, files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, data in files.items():
            _write(fresh / name, data)
        fresh.chmod(0o755)  # mkdtemp keeps others out
        _replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # gone already when all went well


def _require_ours(folder: Path, files: Collection[str]) -> None:
    """Replacing a folder deletes what is in it: only a model may be replaced."""
    if not folder.exists():
        return
    others = {file.name for file in folder.iterdir()} if folder.is_dir() else {folder.name}
    if others := others - set(files):
        raise UsageError(
            f"{folder} holds {', '.join(sorted(others)[:3])}, which saving would delete",
            hint="name a new folder, or one that holds a model and nothing else",
        )


def load_model(folder: Path) -> tuple[TextModel, bytes]:
    """The model, in evaluation mode, and its tokenizer. Raises UsageError."""
    folder = Path(folder)
    _recover(folder)
    for name in (WEIGHTS, CONFIG, TOKENIZER):
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder} holds no model: {name} is missing",
                hint="name a folder that a training run wrote",
            )
    try:
        config = ModelConfig.from_json(json.loads((folder / CONFIG).read_bytes()))
        state = safetensors.torch.load((folder / WEIGHTS).read_bytes())
        model = TextModel(config)
        model.load_state_dict(state)
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{folder} holds no readable model: {error}",
            hint="the files are damaged or from another version; train it again",
        ) from error
    return model.eval(), (folder / TOKENIZER).read_bytes()


def _previous(folder: Path) -> Path:
    """Where the old folder waits while the new one takes its place."""
    return folder.with_name(f".{folder.name}.previous")


def _replace(fresh: Path, folder: Path) -> None:
    """Two renames, since a folder with files in it cannot be renamed over."""
    previous = _previous(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    fresh.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def _recover(folder: Path) -> None:
    """Takes back the old model if a crash fell between the two renames."""
    if not folder.exists() and _previous(folder).is_dir():
        _previous(folder).rename(folder)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
