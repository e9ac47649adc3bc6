"""Writes a model as a folder that the transformers library loads, with equal outputs.

n heads of size d, N = h / D heads of size D as the library has them: N >= n, D >= d.
Heads and channels that a layer lacks there are zero, and Q grows by sqrt(D / d), since
the library divides scores by sqrt(D). N = n and D = d wherever n * d = h.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from edgetran_protos.errors import ArchitectureError, UsageError
from torch import Tensor

from edgetran_host.models.checkpoint import CONFIG, TOKENIZER, WEIGHTS, replace_folder
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.family import FAMILIES, Family, family_of
from edgetran_host.models.foreign_config import MEAN_CLASSIFIER
from edgetran_host.models.foreign_weights import POSITIONS, TOKEN_TYPES
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks.encoding import PAD_TOKENS

TOKENIZER_SETTINGS = "tokenizer_config.json"
ANY_TOKENIZER = "PreTrainedTokenizerFast"  # reads tokenizer.json, whatever it holds
SHAPE_HINT = (
    "the library's encoders have layers of one shape, with sa_sdp heads and one feed-forward width"
)


def save_as_transformers(
    model: TextModel,
    folder: Path,
    tokenizer_json: bytes,
    labels: Sequence[str] = (),
    model_type: str | None = None,
) -> None:
    """`AutoModelForSequenceClassification` loads it; with mean pooling `AutoModel` the encoder.

    `model_type` None: the first of FAMILIES that holds the model. Raises
    ArchitectureError naming the layer and the rule, or UsageError naming the setting.
    """
    config = model.config
    _check_layers(config.architecture)
    family = _family(config, model_type)
    if labels and len(labels) != config.outputs:
        raise UsageError(f"{len(labels)} labels for {config.outputs} outputs")
    state = {
        family.stored_name(name, config.pooling == "cls"): tensor.contiguous()
        for name, tensor in _tensors(model, family).items()
    }
    files = {
        WEIGHTS: safetensors.torch.save(state, metadata={"format": "pt"}),
        CONFIG: json.dumps(_settings(config, family, labels), indent=2).encode(),
        TOKENIZER: tokenizer_json,
        TOKENIZER_SETTINGS: json.dumps(_tokenizer_settings(config, tokenizer_json)).encode(),
    }
    replace_folder(folder, files)


def _check_layers(architecture: Architecture) -> None:
    first = architecture.layers[0]
    for index, layer in enumerate(architecture.layers):
        problem = ""
        if other := sorted(set(layer.heads) - {"sa_sdp"}):
            problem = f"has {', '.join(other)} heads"
        elif len(layer.feed_forward) != 1:
            problem = f"stacks {len(layer.feed_forward)} feed-forward widths"
        elif layer.hidden != first.hidden:
            problem = f"has hidden size {layer.hidden}, layer 0 has {first.hidden}"
        elif layer != first:
            problem = f"has another shape than layer 0: {layer}, not {first}"
        elif not _shares(layer):
            problem = (
                f"has {len(layer.heads)} heads of {layer.head_size}, "
                f"which fit into no equal shares of its hidden size {layer.hidden}"
            )
        if problem:
            raise ArchitectureError(f"layer {index} {problem}", hint=SHAPE_HINT)


def _shares(layer: Layer) -> int:
    """N; 0 where there is none. Heads keep their size where they can."""
    h, n, d = layer.hidden, len(layer.heads), layer.head_size
    if h % d == 0 and n * d <= h:
        return h // d
    return next((i for i in range(n, h + 1) if h % i == 0 and h // i >= d), 0)


def _family(config: ModelConfig, model_type: str | None) -> Family:
    problem = ""
    for name in FAMILIES if model_type is None else (model_type,):
        family = family_of(name, "saving")
        problem = _misfit(config, family)
        if not problem:
            return family
    whom = "no encoder" if model_type is None else f"no {model_type}"
    raise UsageError(
        f"{whom} of the library computes what this model does: {problem}",
        hint=f"known are {', '.join(FAMILIES)}",
    )


def _misfit(config: ModelConfig, family: Family) -> str:
    """The setting that the family has no counterpart for; empty where all have one."""
    if config.positions != "absolute":
        return f"positions are {config.positions}"
    if config.legacy_sa_zero:
        return "legacy_sa_zero"
    if config.pooling == "cls" and config.pooler_activation != family.pooler_activation:
        return f"pooler_activation is {config.pooler_activation}, not {family.pooler_activation}"
    if config.embedding_width is not None and "embedding_width" not in family.settings:
        return f"embedding_width is {config.embedding_width}"
    if config.embedding_width == config.architecture.layers[0].hidden:
        return "embedding_width is the hidden size, yet there is a projection"
    if config.type_vocab_size > 1 and not family.token_types:
        return f"type_vocab_size is {config.type_vocab_size}"
    if family.norm_eps not in (None, config.layer_norm_eps):
        return f"layer_norm_eps is {config.layer_norm_eps}, not {family.norm_eps}"
    return ""


def _tensors(model: TextModel, family: Family) -> dict[str, Tensor]:
    """Our names, the family's shapes."""
    config = model.config
    found = dict(model.state_dict())
    for index, layer in enumerate(config.architecture.layers):
        found |= _spread_heads(found, f"layers.{index}.", layer)
    if not family.token_types:  # the one row goes to every token alike
        found[POSITIONS] = found[POSITIONS] + found.pop(TOKEN_TYPES)
    if family.pads_positions:
        unused = torch.zeros(config.pad_id + 1, config.table_width, dtype=found[POSITIONS].dtype)
        found[POSITIONS] = torch.cat([unused, found[POSITIONS]])
    return found


def _spread_heads(state: Mapping[str, Tensor], prefix: str, layer: Layer) -> dict[str, Tensor]:
    """Q, K, V and Wo of n heads of d among N of D."""
    n, d, h = len(layer.heads), layer.head_size, layer.hidden
    wanted = (_shares(layer), h // _shares(layer))
    if wanted == (n, d):
        return {}
    found = {}
    for part in ("query", "key", "value"):
        factor = math.sqrt(wanted[1] / d) if part == "query" else 1.0
        for leaf in ("weight", "bias"):
            name = f"{prefix}heads.{part}.{leaf}"
            old = state[name].reshape(n, d, *state[name].shape[1:])  # (n, d, h) or (n, d)
            new = old.new_zeros(*wanted, *old.shape[2:])
            new[:n, :d] = old * factor
            found[name] = new.flatten(0, 1)
    name = f"{prefix}heads_out.weight"
    out = state[name].new_zeros(h, *wanted)
    out[:, :n, :d] = state[name].reshape(h, n, d)
    return {**found, name: out.flatten(1)}


def _settings(config: ModelConfig, family: Family, labels: Sequence[str]) -> dict[str, Any]:
    layer = config.architecture.layers[0]
    unused = config.pad_id + 1 if family.pads_positions else 0
    values = {
        "layers": len(config.architecture.layers),
        "hidden": layer.hidden,
        "heads": _shares(layer),
        "feed_forward": layer.feed_forward[0],
        "vocab_size": config.vocab_size,
        "max_positions": config.max_positions + unused,
        "type_vocab_size": config.type_vocab_size,
        "pad_id": config.pad_id,
        "layer_norm_eps": config.layer_norm_eps,
        "dropout": config.dropout,
        "embedding_width": config.table_width,
    }
    named = list(labels) or [f"LABEL_{at}" for at in range(config.outputs)]
    ends = {} if config.pooling == "cls" else {MEAN_CLASSIFIER: "mean"}
    return {
        "model_type": family.model_type,
        "architectures": [
            family.classifier_class if config.pooling == "cls" else family.encoder_class
        ],
        **{theirs: values[ours] for ours, names in family.settings.items() for theirs in names},
        **family.fixed,
        "id2label": {str(at): label for at, label in enumerate(named)},
        "label2id": {label: at for at, label in enumerate(named)},
        **ends,
    }


def _tokenizer_settings(config: ModelConfig, tokenizer_json: bytes) -> dict[str, Any]:
    """Token types only for a model that tells them apart."""
    try:
        pieces = {token["content"] for token in json.loads(tokenizer_json).get("added_tokens", [])}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"the tokenizer cannot be read: {error}") from error
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    if config.type_vocab_size == 1:
        inputs.remove("token_type_ids")
    padding = [token for token in PAD_TOKENS if token in pieces]
    return {
        "tokenizer_class": ANY_TOKENIZER,
        "model_max_length": config.sequence_length,
        "model_input_names": inputs,
        **({"pad_token": padding[0]} if padding else {}),
    }
