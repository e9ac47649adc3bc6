"""Makes a child from its parent, not trained yet, by an explicit map of what it takes over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from edgetran_host.models.new_vocabulary import with_tokenizer
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.proposals import Proposal
from edgetran_host.tokenizer_training import train_tokenizer
from edgetran_host.transfer import WeightMap, measure_share, transfer
from edgetran_host.vocabulary import trim_tokenizer


@dataclass(frozen=True)
class Made:
    model: TextModel
    tokenizer_json: bytes
    weights: WeightMap  # but for the rows of new pieces, which are means of the parent's
    inherited: float  # share of its parameters


def make(
    parent: TextModel, tokenizer_json: bytes, proposal: Proposal, texts: Sequence[str], seed: int
) -> Made:
    """texts: of the task, to choose pieces by. What is new is drawn from `seed`."""
    weights, config = proposal.edit.weights, parent.config
    if proposal.new_pieces:
        assert proposal.pieces is not None
        made = train_tokenizer(texts, proposal.pieces, tokenizer_json)
        return Made(with_tokenizer(parent, tokenizer_json, made), made, weights, 1.0)
    if proposal.pieces is not None:
        tokenizer_json, tokens = trim_tokenizer(tokenizer_json, texts, proposal.pieces)
        weights = dataclasses.replace(weights, tokens=tokens)
        config = dataclasses.replace(
            config, vocab_size=len(tokens), pad_id=tokens.index(config.pad_id)
        )
    config = dataclasses.replace(config, architecture=proposal.edit.architecture)
    child = transfer(parent, weights, config, seed=seed)
    share = measure_share(parent.config, weights, config).overall
    return Made(child, tokenizer_json, weights, share)
