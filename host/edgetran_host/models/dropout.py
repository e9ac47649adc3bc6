"""Dropout from sixteen random bits an element instead of a draw each.

y (any shape), w a random word of 16 bits for each element of y
    keep where w >= -2^15 + round(2^16 * p);  y / (share of words that keep)
The share differs from 1 - p by less than 1e-5, and the scale is that share's own. Words
come four at a time from PyTorch's generator, so a seed and a saved state repeat them. A
kept element is found by bits: -1 (all ones) keeps, 0 clears.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORD_VALUES = 1 << 16
LEAST_WORD = -(1 << 15)
WORDS_A_DRAW = 4  # in 64 bits
LEAST_DRAW = -(1 << 63)
SAME_WIDTH = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes an element


class Dropout(nn.Module):
    """Clears elements with probability `rate` while training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, y: Tensor) -> Tensor:
        return dropped(y, self.rate) if self.training else y

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def dropped(y: Tensor, rate: float) -> Tensor:
    cleared = round(rate * WORD_VALUES)  # of all words
    if not cleared:
        return y
    if y.is_cuda:  # where a draw costs next to nothing, and each call a launch
        return F.dropout(y, rate)
    draws = torch.empty(-(-y.numel() // WORDS_A_DRAW), dtype=torch.int64)
    words = draws.random_(LEAST_DRAW, None).view(torch.int16)[: y.numel()]
    threshold = LEAST_WORD + cleared  # the least word that keeps
    kept = words.clamp_(threshold - 1, threshold).neg_().add_(threshold - 1)
    scale = WORD_VALUES / (WORD_VALUES - cleared)
    kept = kept.to(SAME_WIDTH[y.element_size()]).view(y.shape)
    found: Tensor = _Kept.apply(y, kept, scale)  # type: ignore[no-untyped-call]
    return found


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return _apply(y, kept, scale)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return _apply(slope, kept, ctx.scale), None, None


def _apply(y: Tensor, kept: Tensor, scale: float) -> Tensor:
    return (y.contiguous().view(kept.dtype) & kept).view(y.dtype).mul_(scale)
