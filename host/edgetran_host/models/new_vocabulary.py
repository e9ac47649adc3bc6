"""Gives a trained model another tokenizer: each new row is the mean of those that spell it."""

from __future__ import annotations

import dataclasses

import torch
from edgetran_protos.errors import UsageError
from torch import Tensor, nn

from edgetran_host.models.text_model import TextModel
from edgetran_host.respelling import spell


@torch.no_grad()
def with_tokenizer(model: TextModel, old_json: bytes, new_json: bytes) -> TextModel:
    """A copy that reads the new ids. Raises UsageError where the padding token is gone."""
    spelt = spell(new_json, old_json)
    padding = [at for at, ids in enumerate(spelt) if ids == (model.config.pad_id,)]
    if not padding:
        raise UsageError(
            f"the new tokenizer has no piece for the padding token {model.config.pad_id}",
            hint="train it in the frame of the model's own tokenizer",
        )
    config = dataclasses.replace(model.config, vocab_size=len(spelt), pad_id=padding[0])
    found = TextModel(config).to(model.classifier.weight.dtype)
    state = dict(model.state_dict())
    state["embedding.word.weight"] = _rows(model.embedding.word, spelt)
    found.load_state_dict(state)
    return found.eval()


def _rows(old: nn.Embedding, spelt: tuple[tuple[int, ...], ...]) -> Tensor:
    """(new pieces, width); what nothing spells starts at the mean of all."""
    mean = old.weight.mean(0)
    return torch.stack([old.weight[list(ids)].mean(0) if ids else mean for ids in spelt])
