"""Factorises a trained embedding, so that the child starts as near its parent as can be.

x (h,) the sum of a token's rows, c = x less its mean over channels, which LayerNorm
removes; LN(x) = g · c / sqrt(|c|²/h + eps) + b. Let V (h, e-1) span the most of all c:
the right singular vectors of the embedded tokens. Let B (e-1, e) be orthonormal with
rows orthogonal to (1, ..., 1). Tables of rows z = sqrt(e/h) · c·V·B have mean 0 and
mean square |c·V|²/h, so with Lin_e(y) = sqrt(h/e) · g · (V·B)·y + b
    Lin_e(LN_1(z)) = g · V·V^T·c / sqrt(|V^T·c|²/h + eps) + b
which is LN(x) but for what V leaves out: nothing where e = h.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from edgetran_protos.errors import UsageError
from torch import Tensor

from edgetran_host.models.text_model import TextModel

MIN_WIDTH = 2  # LayerNorm of one channel is constant


@dataclass(frozen=True)
class Factorised:
    model: TextModel
    relative_error: float  # of the embedded tokens: |c - V·V^T·c| / |c|, root of mean squares


@torch.no_grad()
def factorise_embedding(
    parent: TextModel, width: int, counts: Sequence[float] | None = None
) -> Factorised:
    """`counts`: how much each token's error weighs, by id; None: all alike.

    Raises UsageError for a width that factorises nothing.
    """
    hidden = parent.config.architecture.layers[0].hidden
    _check(parent, width, hidden)
    energies, vectors = torch.linalg.eigh(_second_moment(parent, counts))  # ascending
    left_out = hidden - (width - 1)
    into = vectors[:, left_out:] @ _without_mean(width)  # (h, e) = V·B
    config = dataclasses.replace(parent.config, embedding_width=width)
    child = TextModel(config).to(parent.embedding.word.weight.dtype)
    old = parent.state_dict().items()
    others = {name: x for name, x in old if not name.startswith("embedding.")}
    child.load_state_dict({**others, **_embedding(parent, into)})
    lost = energies[:left_out].clamp(min=0).sum() / energies.clamp(min=0).sum()
    return Factorised(child.eval(), math.sqrt(float(lost)))


def _check(parent: TextModel, width: int, hidden: int) -> None:
    if parent.config.embedding_width is not None:
        raise UsageError(
            f"the embedding is factorised already, to {parent.config.embedding_width}",
            hint="factorise the model that this one came from",
        )
    if not MIN_WIDTH <= width <= hidden:
        raise UsageError(
            f"an embedding of width {hidden} cannot be factorised to {width}",
            hint=f"choose a width from {MIN_WIDTH} to {hidden}",
        )


def _embedding(parent: TextModel, into: Tensor) -> dict[str, Tensor]:
    """The child's embedding for into (h, e) = V·B, by the names of its state."""
    hidden, width = into.shape
    source = parent.embedding
    found = {
        f"embedding.{name}": _centred(table) @ into * math.sqrt(width / hidden)
        for name, table in source.named_parameters()
        if not name.startswith("norm.")
    }
    scale = source.norm.weight.double() * math.sqrt(hidden / width)
    return {
        **found,
        "embedding.norm.weight": torch.ones(width),
        "embedding.norm.bias": torch.zeros(width),
        "embedding.project.weight": scale[:, None] * into,
        "embedding.project.bias": source.norm.bias,
    }


def _second_moment(parent: TextModel, counts: Sequence[float] | None) -> Tensor:
    """(h, h): mean of c·c^T where token, place and type are drawn independently."""
    source = parent.embedding
    words = _centred(source.word.weight)
    share = torch.ones(len(words)) if counts is None else torch.tensor(counts)
    if share.shape != (len(words),) or bool((share < 0).any()) or not float(share.sum()):
        raise UsageError(
            f"counts must be {len(words)} numbers from 0, not all 0, one for each token",
            hint="count the ids of the training rows",
        )
    share = share.double() / share.double().sum()
    others = [source.token_type.weight]
    if source.position is not None:
        others.append(source.position.weight)
    mean = share @ words
    found = _spread(words, share, mean)
    for table in others:
        centred = _centred(table)
        alike = torch.full((len(centred),), 1 / len(centred), dtype=torch.double)
        found += _spread(centred, alike, centred.mean(0))
        mean = mean + centred.mean(0)
    return found + torch.outer(mean, mean)


def _spread(rows: Tensor, share: Tensor, mean: Tensor) -> Tensor:
    off = rows - mean
    return off.t() @ (share[:, None] * off)


def _centred(table: Tensor) -> Tensor:
    """(n, h) float64, each row less its mean."""
    rows = table.detach().double()
    return rows - rows.mean(dim=1, keepdim=True)


def _without_mean(width: int) -> Tensor:
    """B, (e-1, e): an orthonormal basis of what is orthogonal to (1, ..., 1)."""
    ones = torch.ones(width, 1, dtype=torch.double)
    basis = torch.linalg.qr(torch.cat([ones, torch.eye(width, dtype=torch.double)], 1)).Q
    found: Tensor = basis[:, 1:].t()
    return found
