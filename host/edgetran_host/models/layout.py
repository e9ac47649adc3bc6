"""How the tokens of a batch lie in memory between the layers, and how heads find theirs.

b rows, s positions, t tokens computed, n heads, d head size. Most of a layer looks at one
token at a time, so padding need not be computed there: `Ragged` keeps real tokens side by
side and pads only inside the heads. `Padded` is the plain (b, s), and what graphs hold.
"""

from __future__ import annotations

import abc
from typing import Any

import torch
from torch import Tensor

TOKEN_STEP = 16  # t is rounded up to it, so that few shapes of matrix product occur


class Layout(abc.ABC):
    @abc.abstractmethod
    def split(self, y: Tensor, size: int) -> Tensor:
        """(..., n * d) -> (b, n, s, d)."""

    @abc.abstractmethod
    def join(self, y: Tensor) -> Tensor:
        """(b, n, s, d) -> (..., n * d), heads side by side again."""

    @abc.abstractmethod
    def firsts(self, y: Tensor) -> tuple[Tensor, Layout]:
        """The first token of every row, and how these lie."""


class Padded(Layout):
    """Tokens are (b, s, h)."""

    def split(self, y: Tensor, size: int) -> Tensor:
        return y.reshape(-1, y.shape[1], y.shape[2] // size, size).transpose(1, 2)

    def join(self, y: Tensor) -> Tensor:
        return y.transpose(1, 2).flatten(2)

    def firsts(self, y: Tensor) -> tuple[Tensor, Layout]:
        """(b, 1, h), not (b, h): every product by a weight then looks alike in a graph."""
        return y[:, :1], self


class OneEach(Layout):
    """Tokens are (b, h): one of each row, s = 1."""

    def split(self, y: Tensor, size: int) -> Tensor:
        return y.reshape(len(y), -1, 1, size)

    def join(self, y: Tensor) -> Tensor:
        return y.flatten(1)

    def firsts(self, y: Tensor) -> tuple[Tensor, Layout]:
        return y, self


class Ragged(Layout):
    """Tokens are (t, h): those that `mask` names, the first of every row, a few of padding."""

    def __init__(self, mask: Tensor) -> None:
        """mask (b, s)."""
        self.shape = mask.shape
        wanted = mask != 0
        wanted[:, 0] = True
        flat = wanted.flatten()
        real, idle = flat.nonzero().flatten(), (~flat).nonzero().flatten()
        self.places = torch.cat([real, idle[: -len(real) % TOKEN_STEP]])  # (t,) in (b * s)
        self.positions = self.places % mask.shape[1]  # (t,) in their rows
        counts = wanted.sum(1)
        self.first = counts.cumsum(0) - counts  # (b,) in (t)
        self._tokens = torch.full((flat.numel(),), len(self.places))  # (b * s,) in (t), t: none
        self._tokens[self.places] = torch.arange(len(self.places))
        self._routes: dict[int, tuple[Tensor, Tensor]] = {}

    def take(self, y: Tensor) -> Tensor:
        """(b, s) -> (t,)."""
        return y.flatten()[self.places]

    def spread(self, y: Tensor) -> Tensor:
        """(t, h) -> (b, s, h), zero where nothing was computed."""
        found: Tensor = _Spread.apply(y, self._tokens, self.places)  # type: ignore[no-untyped-call]
        return found.view(*self.shape, -1)

    def split(self, y: Tensor, size: int) -> Tensor:
        heads = y.shape[1] // size
        there, back = self._route(heads)
        b, s = self.shape
        found: Tensor = _Spread.apply(y.reshape(-1, size), there, back)  # type: ignore[no-untyped-call]
        return found.view(b, heads, s, size)

    def join(self, y: Tensor) -> Tensor:
        heads, size = y.shape[1], y.shape[3]
        there, back = self._route(heads)
        found: Tensor = _Gather.apply(y.reshape(-1, size), back, there)  # type: ignore[no-untyped-call]
        return found.view(-1, heads * size)

    def firsts(self, y: Tensor) -> tuple[Tensor, Layout]:
        return y.index_select(0, self.first), OneEach()

    def _route(self, heads: int) -> tuple[Tensor, Tensor]:
        """Of rows of one head: from (b, n, s) into (t, n), and from (t, n) into (b, n, s)."""
        if heads not in self._routes:
            b, s = self.shape
            head = torch.arange(heads)
            there = self._tokens.view(b, 1, s) * heads + head[:, None]
            there = there.clamp(max=len(self.places) * heads)  # t * n: none
            row, position = self.places // s, self.places % s
            back = (row[:, None] * heads + head) * s + position[:, None]
            self._routes[heads] = there.flatten(), back.flatten()
        return self._routes[heads]


def _with_zeros(y: Tensor, places: Tensor) -> Tensor:
    """y (k, d) at places (m,); place k is zero."""
    return torch.cat([y, y.new_zeros(1, y.shape[1])]).index_select(0, places)


class _Spread(torch.autograd.Function):
    """Rows to new places. Each is read at most once, so its slope is looked up, not summed."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return _with_zeros(y, there)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return slope.index_select(0, back), None, None


class _Gather(torch.autograd.Function):
    """The way back."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, back: Tensor, there: Tensor) -> Tensor:
        ctx.save_for_backward(there)
        return y.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (there,) = ctx.saved_tensors
        return _with_zeros(slope, there), None, None
