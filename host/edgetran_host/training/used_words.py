"""Trains only those rows of the word embedding that the data look up.

A row that no text names has no gradient, so AdamW moves it by weight decay alone:
after k steps it is the product of (1 - rate_i · decay) times itself. Such rows are
taken out of the model for the run and decayed in one go at its end. Gradients, Adam's
moments, clipping and the saved state shrink with the table; the weights are those of
the whole table but for rounding. A seed has 30,522 rows, a small task names a tenth.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded

WORTHWHILE = 0.9  # with more of the table in use, the whole of it is trained

Shrunk = Callable[[], float]  # what decay has left of an idle row by now


@contextlib.contextmanager
def used_words(
    model: TextModel, data: tuple[Encoded, ...], shrunk: Shrunk
) -> Iterator[tuple[Encoded, ...]]:
    """The data with the small table's ids, while the model has that table."""
    whole = model.embedding.word
    pad = model.config.pad_id  # keeps its place: fixed-length models pad with it themselves
    named = np.unique(np.concatenate([part.input_ids.ravel() for part in data]))
    others = named[named != pad]
    if len(others) < pad or len(others) + 1 > WORTHWHILE * whole.num_embeddings:
        yield data
        return
    rows = np.insert(others, pad, pad)  # (rows in use,) their places in the whole table
    places = np.full(whole.num_embeddings, -1, np.int64)
    places[rows] = np.arange(len(rows))
    small = nn.Embedding(  # with weights given it draws none: dropout's lots stay the same
        len(rows),
        whole.embedding_dim,
        padding_idx=pad,
        _weight=whole.weight.detach()[torch.from_numpy(rows)],
        _freeze=not whole.weight.requires_grad,
    )
    model.embedding.word = small
    try:
        yield tuple(dataclasses.replace(x, input_ids=places[x.input_ids]) for x in data)
    finally:
        model.embedding.word = whole
        with torch.no_grad():
            if whole.weight.requires_grad:
                whole.weight.mul_(shrunk())
            whole.weight[torch.from_numpy(rows)] = small.weight
