"""Reads a BERT-type encoder from a folder and gives its weights our names.

Source of the layout: the `bert` model type of the transformers library. Only what
computes exactly what `TextModel` computes is accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from edgetran_protos.errors import UsageError
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import Architecture, Layer

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
HINT = "a seed is a folder with a BERT's config.json, model.safetensors and tokenizer.json"

EMBEDDING = {
    "embeddings.word_embeddings": "embedding.word",
    "embeddings.position_embeddings": "embedding.position",
    "embeddings.token_type_embeddings": "embedding.token_type",
    "embeddings.LayerNorm": "embedding.norm",
    "pooler.dense": "pooler",
}
LAYER = {
    "attention.self.query": "heads.query",
    "attention.self.key": "heads.key",
    "attention.self.value": "heads.value",
    "attention.output.dense": "heads_out",
    "attention.output.LayerNorm": "heads_norm",
    "intermediate.dense": "stack.0",
    "output.dense": "stack_out",
    "output.LayerNorm": "stack_norm",
}
OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # LayerNorms of the first BERTs


def read_config(folder: Path) -> ModelConfig:
    """config.json as a ModelConfig; pooling and outputs are the caller's to choose."""
    raw = _json(folder / "config.json")
    try:
        _require(raw, folder)
        hidden, heads = int(raw["hidden_size"]), int(raw["num_attention_heads"])
        layer = Layer(
            hidden=hidden,
            heads=("sa_sdp",) * heads,
            head_size=hidden // heads,
            feed_forward=(int(raw["intermediate_size"]),),
        )
        return ModelConfig(
            architecture=Architecture((layer,) * int(raw["num_hidden_layers"])),
            vocab_size=int(raw["vocab_size"]),
            positions="absolute",
            max_positions=int(raw["max_position_embeddings"]),
            type_vocab_size=int(raw.get("type_vocab_size", 2)),
            pad_id=int(raw.get("pad_token_id") or 0),
            layer_norm_eps=float(raw.get("layer_norm_eps", 1e-12)),
            dropout=float(raw.get("hidden_dropout_prob", 0.1)),
            pooling="mean",
            outputs=1,
            sequence_length=int(raw["max_position_embeddings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{folder / 'config.json'}: cannot use {error}", hint=HINT) from error


def read_state(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """The weights under our names, float32; the pooler too where there is one."""
    state: dict[str, Tensor] = {}
    for name, tensor in _weights(folder).items():
        ours = _our_name(name)
        if ours is not None:
            state[ours] = tensor.float()
    _check_shapes(state, config, folder)
    return state


def read_tokenizer(folder: Path, config: ModelConfig) -> bytes:
    """tokenizer.json, made from vocab.txt where only that is there; its ids all embedded."""
    found = _tokenizer(folder)
    try:
        largest = max(Tokenizer.from_buffer(found).get_vocab().values(), default=-1)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise UsageError(f"{folder}: tokenizer.json is not readable: {error}", hint=HINT) from error
    if largest >= config.vocab_size:
        raise UsageError(
            f"{folder}: the tokenizer gives ids up to {largest}, "
            f"the weights embed {config.vocab_size}",
            hint="use the tokenizer the weights were trained with",
        )
    return found


def _tokenizer(folder: Path) -> bytes:
    file = folder / "tokenizer.json"
    if file.is_file():
        return file.read_bytes()
    words = folder / "vocab.txt"
    if not words.is_file():
        raise UsageError(f"{folder} has neither tokenizer.json nor vocab.txt", hint=HINT)
    settings = folder / "tokenizer_config.json"
    lower = bool(_json(settings).get("do_lower_case", True)) if settings.is_file() else True
    made = BertWordPieceTokenizer(str(words), lowercase=lower)
    return str(made.to_str()).encode()


def read_licence(folder: Path) -> str:
    """The licence a model card states in its opening lines; 'unknown' when it does not."""
    card = folder / "README.md"
    opening = card.read_text(errors="replace").split("\n---", 1)[0] if card.is_file() else ""
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", opening, re.MULTILINE)
    return found[1] if found else "unknown"


def _require(raw: Mapping[str, Any], folder: Path) -> None:
    wanted = {
        "model_type": ("bert",),
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
    }
    for key, values in wanted.items():
        found = raw.get(key, values[0] if key != "model_type" else None)
        if found not in values:
            raise UsageError(
                f"{folder}: {key} is {found!r}, a seed needs {values[0]!r}",
                hint="only encoders of BERT type with exact GELU and absolute positions fit",
            )
    for key in ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"):
        if int(raw[key]) < 1:
            raise UsageError(f"{folder}: {key} must be at least 1, got {raw[key]!r}", hint=HINT)
    if int(raw["hidden_size"]) % int(raw["num_attention_heads"]):
        raise UsageError(f"{folder}: hidden_size is no multiple of num_attention_heads", hint=HINT)


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


def _our_name(name: str) -> str | None:
    """None for what an encoder does not need: heads of pretraining, position ids."""
    module, _, leaf = name.removeprefix("bert.").rpartition(".")
    leaf = OLD_NAMES.get(leaf, leaf)
    if module in EMBEDDING:
        return f"{EMBEDDING[module]}.{leaf}"
    found = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", module)
    if found and found[2] in LAYER:
        return f"layers.{found[1]}.{LAYER[found[2]]}.{leaf}"
    return None


def _check_shapes(state: Mapping[str, Tensor], config: ModelConfig, folder: Path) -> None:
    layer = config.architecture.layers[0]
    h, f = layer.hidden, layer.feed_forward[0]
    wanted: dict[str, tuple[int, ...]] = {
        "embedding.word.weight": (config.vocab_size, h),
        "embedding.position.weight": (config.max_positions, h),
        "embedding.token_type.weight": (config.type_vocab_size, h),
        "embedding.norm.weight": (h,),
        "embedding.norm.bias": (h,),
    }
    for index in range(len(config.architecture.layers)):
        for part in LAYER.values():
            shape: tuple[int, ...] = {"stack.0": (f, h), "stack_out": (h, f)}.get(part, (h, h))
            wanted[f"layers.{index}.{part}.weight"] = (h,) if part.endswith("norm") else shape
            wanted[f"layers.{index}.{part}.bias"] = shape[:1]
    if any(name.startswith("pooler.") for name in state):
        wanted |= {"pooler.weight": (h, h), "pooler.bias": (h,)}
    for name, shape in wanted.items():
        if name not in state:
            raise UsageError(f"{folder}: the weights lack {name}", hint=HINT)
        if tuple(state[name].shape) != shape:
            found = tuple(state[name].shape)
            raise UsageError(f"{folder}: {name} is {found}, config.json says {shape}", hint=HINT)


def _json(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{file} is missing", hint=HINT) from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}", hint=HINT) from error
    if not isinstance(raw, dict):
        raise UsageError(f"{file} is not a JSON object", hint=HINT)
    return raw
