"""Gives each head of a layer the weights of the parent's head it comes from.

Heads of one letter share Q, K and V. Between sa_sdp and sa_wma nothing is lost: an
sa_wma head from an sa_sdp starts with W = 1, and S = (Q·W)·K^T = Q·(K·W^T)^T lets an
sa_sdp from an sa_wma take W into its keys. Between c_k and c_k' the taps are
resampled. A head of another size d' starts with Q·sqrt(d'/d), so that the scores of
its old channels stay; keys of new channels are zero, and with them their scores.
Exact for sa and c heads that grow; a transform over more or fewer channels is
another transform, so l heads of another size are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetran_host.models.heads import ConvolutionHeads, Heads, WeightedHeads, uses_key, uses_query
from edgetran_host.space.architecture import Layer
from edgetran_host.transfer.axis import Axis, Picked, Units, blocks
from edgetran_host.transfer.fitting import letter
from edgetran_host.transfer.matrix import copy_matrix

TAP_OFF = -20.0  # logit of a new tap: its share of the softmax starts below 1e-8


@dataclass(frozen=True)
class HeadMap:
    """One layer's part of a WeightMap; `channels` are named even where all stay."""

    old: Layer
    new: Layer
    heads: Units
    channels: Units
    positions: str
    taps: str

    @property
    def values(self) -> Picked:
        """The layer's attention channels, A of the parent's for A of the child's."""
        return blocks(self.heads, self.channels, self.old.head_size)

    @property
    def query_gain(self) -> float:
        return math.sqrt(self.new.head_size / self.old.head_size)


def copy_heads(source: Heads, target: Heads, where: HeadMap, hidden: Axis) -> None:
    _copy_queries(source, target, where, hidden)
    _copy_keys(source, target, where, hidden)
    copy_matrix(source.value.weight, source.value.bias, target.value, where.values, hidden)
    if source.relative is not None and target.relative is not None:
        extra = (len(source.relative) - len(target.relative)) // 2
        rows = source.relative[extra : extra + len(target.relative)]
        target.relative.copy_(Picked(where.channels).read(rows, 1))
    for kind, group in target.groups.items():
        if isinstance(group, WeightedHeads):
            _copy_weighted(source, group, where, kind)
        elif isinstance(group, ConvolutionHeads):
            _copy_convolution(source, group, where, kind)


def _copy_queries(source: Heads, target: Heads, where: HeadMap, hidden: Axis) -> None:
    if source.query is None or target.query is None:
        return
    reads = [uses_query(kind, where.positions) for kind in where.old.heads]
    units = tuple(
        None if head is None else sum(reads[:head])
        for kind, head in zip(where.new.heads, where.heads)
        if uses_query(kind, where.positions)
    )
    rows = blocks(units, where.channels, where.old.head_size)
    gain = where.query_gain
    copy_matrix(source.query.weight * gain, source.query.bias * gain, target.query, rows, hidden)


def _copy_keys(source: Heads, target: Heads, where: HeadMap, hidden: Axis) -> None:
    if source.key is None or target.key is None:
        return
    weight, bias = _keys(source, source.key, where.old.heads.count("sa_sdp"))
    reads = [uses_key(kind) for kind in where.old.heads]
    units: list[int | None] = []
    for kind, head in zip(where.new.heads, where.heads):
        if not uses_key(kind):
            continue
        units.append(None if head is None else sum(reads[:head]))
        if kind == "sa_sdp" and head is not None and where.old.heads[head] == "sa_wma":
            units[-1] = sum(reads) + head - where.old.heads.index("sa_wma")
    copy_matrix(weight, bias, target.key, blocks(units, where.channels, source.size), hidden)
    for at, unit in enumerate(units):
        for channel, old in enumerate(where.channels):
            if unit is not None and old is None:
                target.key.weight[at * target.size + channel] = 0.0
                target.key.bias[at * target.size + channel] = 0.0


def _keys(source: Heads, key: nn.Linear, before: int) -> tuple[Tensor, Tensor]:
    """The parent's keys, then those of its sa_wma heads, from `before` on, with W taken in."""
    weighted = _weighted(source)
    if weighted is None:
        return key.weight, key.bias
    w = weighted.weight  # (n, query channel, key channel)
    count, size = w.shape[0], w.shape[1]
    rows = slice(before * size, (before + count) * size)
    folded = w @ key.weight[rows].reshape(count, size, -1)
    bias = w @ key.bias[rows].reshape(count, size, 1)
    return (
        torch.cat([key.weight, folded.flatten(0, 1)]),
        torch.cat([key.bias, bias.flatten()]),
    )


def _weighted(source: Heads) -> WeightedHeads | None:
    for group in source.groups.values():
        if isinstance(group, WeightedHeads):
            return group
    return None


def _copy_weighted(source: Heads, group: WeightedHeads, where: HeadMap, kind: str) -> None:
    size = where.old.head_size
    known = _weighted(source)
    one = torch.eye(size, dtype=group.weight.dtype)[None]
    every = one if known is None else torch.cat([known.weight, one])
    units = _within(where, kind, "sa_wma", otherwise=len(every) - 1)
    inner = Picked(where.channels)
    chosen = inner.read(every[_placed(units)], 1)
    _keep_new(group.weight, inner.write(chosen, 2, group.weight), units)


def _copy_convolution(source: Heads, group: ConvolutionHeads, where: HeadMap, kind: str) -> None:
    """d channels, k taps: each (n, ..), the parent's heads of all its kernel sizes in turn."""
    kinds = [found for found in where.old.heads if letter(found) == "c"]
    if not kinds:
        return
    parts = _resampled(source, group.taps, where.taps)
    units = _within(where, kind, kinds[0])
    inner, at = Picked(where.channels), _placed(units)
    n, d = len(units), where.new.head_size
    old = {name: part[at] for name, part in parts.items()}
    new: dict[str, Tensor] = dict(group.named_parameters())
    new["depthwise"] = new["depthwise"].view(n, d, -1)
    found = {
        "depthwise": inner.write(old["depthwise"], 1, new["depthwise"]),
        "pointwise": inner.write(inner.read(old["pointwise"], 1), 2, new["pointwise"]),
        "pointwise_bias": inner.write(old["pointwise_bias"], 2, new["pointwise_bias"]),
        "kernel": inner.read(old["kernel"], 1) / where.query_gain,
        "kernel_bias": old["kernel_bias"],
        "content": inner.write(inner.read(old["content"], 1), 2, new["content"]),
        "content_bias": inner.write(old["content_bias"], 2, new["content_bias"]),
    }
    for name, value in found.items():
        _keep_new(new[name], value, units)


def _resampled(source: Heads, taps: int, how: str) -> dict[str, Tensor]:
    """The parent's convolution parameters by name, at `taps` taps."""
    found: dict[str, list[Tensor]] = {}
    for group in source.groups.values():
        if not isinstance(group, ConvolutionHeads):
            continue
        for name, x in group.named_parameters():
            part: Tensor = x
            if name == "depthwise":
                part = resample(x.view(len(group.kernel), -1, group.taps), taps, how, 0.0)
                if how == "interpolated":
                    part = part * (group.taps / taps)  # the sum over the taps stays
            elif name in ("kernel", "kernel_bias"):
                part = resample(x, taps, how, TAP_OFF if name == "kernel_bias" else 0.0)
            found.setdefault(name, []).append(part)
    return {name: torch.cat(parts) for name, parts in found.items()}


def resample(x: Tensor, taps: int, how: str, new: float) -> Tensor:
    """x (n, m, k) -> (n, m, taps); centred, taps beyond the old ones are `new`."""
    k = x.shape[2]
    if how == "interpolated":
        return F.interpolate(x, size=taps, mode="linear", align_corners=True) if k != taps else x
    beyond = (taps - k) // 2  # both odd
    return F.pad(x, (beyond, beyond), value=new) if beyond >= 0 else x[:, :, -beyond:beyond]


def _within(where: HeadMap, kind: str, first: str, otherwise: int | None = None) -> Units:
    """The heads of `kind`, by their place from the parent's first `first` on.

    `otherwise` is for heads before it.
    """
    begin = where.old.heads.index(first) if first in where.old.heads else len(where.old.heads)
    heads = [head for found, head in zip(where.new.heads, where.heads) if found == kind]
    return tuple(
        None if head is None else head - begin if head >= begin else otherwise for head in heads
    )


def _placed(units: Units) -> Tensor:
    """Indices with a place for the new ones."""
    return torch.tensor([unit or 0 for unit in units])


def _keep_new(target: Tensor, found: Tensor, units: Units) -> None:
    """Writes `found` (n, ..) over `target`, but for new heads."""
    old = [at for at, unit in enumerate(units) if unit is not None]
    target[old] = found[old]
