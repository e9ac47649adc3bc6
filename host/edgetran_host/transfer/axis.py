"""How a child's units along one dimension of a tensor come from the parent's.

A tensor *writes* a hidden channel, a head's channel or a neuron along its outputs and
*reads* it along its inputs. A unit that comes from several copies is read in equal
parts, so that a copied unit counts once. A new unit keeps the value it was drawn with
where it is written, and is read with weight zero: it starts without effect.

A rotation stands for a change of width as a whole: x_child = a · x_parent · R with one
R (p, c) whose shorter side is orthonormal and a = max(1, sqrt(c / p)). R takes the
direction (1, ..., 1), which LayerNorm removes, to itself: LayerNorm without its own
weights commutes with a growing R, exactly.
"""

from __future__ import annotations

import abc
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Units = tuple[int | None, ...]  # the parent's unit for each of the child's; None: new


class Axis(abc.ABC):
    """One dimension of p parent's units and c child's."""

    @abc.abstractmethod
    def write(self, x: Tensor, dim: int, fresh: Tensor) -> Tensor:
        """x with p units along dim -> c units; new ones as in `fresh`, of the result's shape."""

    @abc.abstractmethod
    def read(self, x: Tensor, dim: int) -> Tensor:
        """x with p units along dim -> c units."""

    @abc.abstractmethod
    def scale(self, x: Tensor, fresh: Tensor) -> Tensor:
        """LayerNorm's weights (p,) -> (c,): they multiply channels and belong to no sum."""

    @abc.abstractmethod
    def through(self, units: Units) -> Axis:
        """The axis whose units are copies of these units of the child's."""


@dataclass(frozen=True)
class Picked(Axis):
    units: Units

    @staticmethod
    def whole(count: int) -> Picked:
        return Picked(tuple(range(count)))

    @staticmethod
    def cyclic(parent: int, child: int) -> Picked:
        """The first units, or all of them over and over."""
        return Picked(tuple(unit % parent for unit in range(child)))

    @property
    def new(self) -> Tensor:
        return torch.tensor([unit is None for unit in self.units])

    def write(self, x: Tensor, dim: int, fresh: Tensor) -> Tensor:
        found = x.index_select(dim, self._index())
        if None not in self.units:
            return found
        return torch.where(_along(self.new, dim, found.dim()), fresh.to(found.dtype), found)

    def read(self, x: Tensor, dim: int) -> Tensor:
        copies = Counter(self.units)
        found = x.index_select(dim, self._index())
        if None in copies:
            found = found.masked_fill(_along(self.new, dim, found.dim()), 0.0)
        if max((count for unit, count in copies.items() if unit is not None), default=1) > 1:
            parts = torch.tensor([copies[unit] for unit in self.units], dtype=x.dtype)
            found = found / _along(parts, dim, found.dim())
        return found

    def scale(self, x: Tensor, fresh: Tensor) -> Tensor:
        return self.write(x, 0, fresh)

    def through(self, units: Units) -> Axis:
        return Picked(tuple(None if unit is None else self.units[unit] for unit in units))

    def _index(self) -> Tensor:
        return torch.tensor([unit or 0 for unit in self.units])


@dataclass(frozen=True)
class Rotated(Axis):
    rotation: Tensor  # (p, c)
    gain: float  # a

    @staticmethod
    def between(parent: int, child: int, seed: int) -> Rotated:
        """The same for every tensor that touches this change of width."""
        return Rotated(_rotation(parent, child, seed), max(1.0, math.sqrt(child / parent)))

    def write(self, x: Tensor, dim: int, fresh: Tensor) -> Tensor:
        return self._apply(x, dim, self.gain)

    def read(self, x: Tensor, dim: int) -> Tensor:
        return self._apply(x, dim, 1 / self.gain)

    def scale(self, x: Tensor, fresh: Tensor) -> Tensor:
        """The mean of the weights that enter a channel, by their share in it."""
        shares = self.rotation.to(x.dtype) ** 2
        return x @ (shares / shares.sum(dim=0))

    def through(self, units: Units) -> Axis:
        chosen = torch.tensor([0 if unit is None else unit for unit in units])
        kept = torch.tensor([unit is not None for unit in units])
        return Rotated(self.rotation[:, chosen] * kept, self.gain)

    def _apply(self, x: Tensor, dim: int, factor: float) -> Tensor:
        rotation = self.rotation.to(x.dtype) * factor
        return (x.movedim(dim, -1) @ rotation).movedim(-1, dim)


@lru_cache(maxsize=8)
def _rotation(parent: int, child: int, seed: int) -> Tensor:
    """(parent, child) float64."""
    rng = torch.Generator().manual_seed(seed)
    shared = min(parent, child)
    return _basis(parent, rng)[:, :shared] @ _basis(child, rng)[:, :shared].t()


def _basis(size: int, rng: torch.Generator) -> Tensor:
    """A random orthonormal basis in columns, the first of them (1, ..., 1) / sqrt(size)."""
    drawn = torch.randn(size, size, dtype=torch.double, generator=rng)
    drawn[:, 0] = 1.0
    basis, triangle = torch.linalg.qr(drawn)
    found: Tensor = basis * triangle.diagonal().sign()
    return found


def blocks(units: Sequence[int | None], inner: Sequence[int | None], size: int) -> Picked:
    """Units of several channels: the parent's unit u has its channels from u * size on."""
    return Picked(
        tuple(
            None if unit is None or channel is None else unit * size + channel
            for unit in units
            for channel in inner
        )
    )


def _along(x: Tensor, dim: int, dims: int) -> Tensor:
    """(n,) -> (1, .., n, .., 1)."""
    shape = [1] * dims
    shape[dim] = len(x)
    return x.reshape(shape)
