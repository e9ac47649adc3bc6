"""Makes a child from its parent, not trained yet, by an explicit map of what it takes over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from edgetran_host.models.factorising import factorise_embedding
from edgetran_host.models.new_vocabulary import with_tokenizer
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.proposals import Proposal
from edgetran_host.tokenizer_training import train_tokenizer
from edgetran_host.transfer import WeightMap, measure_share, transfer
from edgetran_host.vocabulary import piece_counts, trim_tokenizer


@dataclass(frozen=True)
class Made:
    model: TextModel
    tokenizer_json: bytes
    weights: WeightMap  # but for rows of new pieces, and factors: computed of the parent's
    inherited: float  # share of its parameters


def make(
    parent: TextModel, tokenizer_json: bytes, proposal: Proposal, texts: Sequence[str], seed: int
) -> Made:
    """texts: of the task, to see which pieces matter. What is new is drawn from `seed`."""
    weights, config = proposal.edit.weights, parent.config
    if proposal.table_width is not None:
        counts = piece_counts(tokenizer_json, texts, config.vocab_size)
        narrower = factorise_embedding(parent, proposal.table_width, counts)
        return Made(narrower.model, tokenizer_json, weights, 1.0)
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
