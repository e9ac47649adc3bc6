"""The attention part of a layer: heads of seven kinds, those of one kind computed together.

b batch, s sequence, h hidden, n heads of one kind, d head size, A = all heads * d.
Q, K, V = x·W + b by head; M = -10000 on padded keys. Every head starts from
    P = softmax((S + Q·R^T) / sqrt(d) + M)         C = P·V                  (b, n, s, d)
where Q·R^T, the row i-m+offset of the layer's table R for query i and key m, is
there only with relative positions. By kind:
    sa_sdp  S = Q·K^T          C
    sa_wma  S = (Q·W)·K^T      C
    l_dft   S = 0              C + Re(DFT_s(DFT_d(V)))
    l_dct   S = 0              C + DCT-II_s(DCT-II_d(V))
    c_k     S = 0              C + a convolution of V whose taps depend on K and Q
Source: the method's specification, 2.3 and 2.4. Every operation has a fixed-shape
ONNX counterpart: transforms and the mixing of neighbours are matrix products.
Some published checkpoints were trained while sa heads gave zeros by mistake: with
`legacy_sa_zero` they do so here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetran_host.models.dropout import Dropout, dropped
from edgetran_host.models.layout import Layout, Padded
from edgetran_host.models.transforms import cosine_matrix, fourier_matrices
from edgetran_host.space.architecture import HEAD_KINDS, Layer

MASKED = -10000.0  # added to the scores of padded keys; finite in fp16
PADDED = Padded()
INIT_STD = 0.02
WEIGHTED_INIT = 0.1  # sa_wma's W starts uniform within this


def uses_query(kind: str, positions: str) -> bool:
    """Whether a head of this kind reads Q; l heads do only for relative positions."""
    return not kind.startswith("l_") or positions == "relative"


def uses_key(kind: str) -> bool:
    return not kind.startswith("l_")


class Heads(nn.Module):
    """All heads of a layer side by side, in canonical order; no output projection.

    Query and key rows that no head reads are not allocated. `merge` makes one matrix of
    what reads the same tokens, for graphs.
    """

    def __init__(
        self,
        layer: Layer,
        positions: str,
        max_positions: int,
        sequence_length: int,
        lt_scale: bool,
        dropout: float,
        legacy_sa_zero: bool = False,
    ) -> None:
        super().__init__()
        size = layer.head_size
        self.size = size
        self.dropout = dropout
        self.legacy_sa_zero = legacy_sa_zero
        queries = sum(uses_query(kind, positions) for kind in layer.heads)
        keys = sum(map(uses_key, layer.heads))
        self.query = nn.Linear(layer.hidden, queries * size) if queries else None
        self.key = nn.Linear(layer.hidden, keys * size) if keys else None
        self.value = nn.Linear(layer.hidden, layer.attention_width)
        self.merged: nn.Linear | None = None
        self.relative: nn.Parameter | None = None
        if positions == "relative":
            self.relative = nn.Parameter(torch.empty(2 * max_positions - 1, size))
            nn.init.normal_(self.relative, std=INIT_STD)
        self.asks_by_content = positions != "relative" and all(
            kind.startswith("sa_") for kind in layer.heads
        )
        self.groups = nn.ModuleDict()
        self._counts: list[tuple[str, int, bool, bool]] = []
        for kind in HEAD_KINDS:
            count = layer.heads.count(kind)
            if count:
                self.groups[kind] = _group(kind, count, size, sequence_length, lt_scale, dropout)
                self._counts.append((kind, count, uses_query(kind, positions), uses_key(kind)))

    def forward(
        self,
        x: Tensor,
        masked: Tensor,
        layout: Layout = PADDED,
        asking: tuple[Tensor, Layout] | None = None,
    ) -> Tensor:
        """x (b, s, h), masked (b, 1, 1, s) added to the scores -> (b, s, A).

        Another `layout` has x and the result in other shapes. `asking`: the tokens that
        ask, where they are not all of x; the result is theirs. Heads other than sa, or
        relative positions, take only the first ones of padded rows.
        """
        if asking is not None and not self.asks_by_content:
            every: Tensor = self(x, masked, layout)
            return every[:, : asking[0].shape[1]]
        asked, to_askers = asking or (x, layout)
        queries, keys, values = map(iter, self._projected(x, layout, asked, to_askers))
        found = []
        for kind, _, has_query, has_key in self._counts:
            q = next(queries) if has_query else None
            k = next(keys) if has_key else None
            v, group, bias = next(values), self.groups[kind], masked
            if q is not None and self.relative is not None:
                bias = masked + self._position_scores(q, self.relative, _is_divided(group))
            if self.legacy_sa_zero and kind.startswith("sa_"):
                found.append(torch.zeros_like(v))
            else:
                found.append(group(q, k, v, bias))
        y = found[0] if len(found) == 1 else torch.cat(found, dim=1)  # (b, heads, s, d)
        return to_askers.join(y)

    def merge(self, asked_apart: bool) -> None:
        """Makes one matrix of query, key and value; the 1/sqrt(d) of sa heads goes into it too.

        asked_apart: the query stays by itself, since not all tokens ask.
        """
        self._divide_queries()
        names = ("key", "value") if asked_apart else ("query", "key", "value")
        parts = [part for name in names if (part := getattr(self, name)) is not None]
        width = sum(part.out_features for part in parts)
        self.merged = nn.Linear(parts[0].in_features, width)
        with torch.no_grad():
            self.merged.weight.copy_(torch.cat([part.weight for part in parts]))
            self.merged.bias.copy_(torch.cat([part.bias for part in parts]))
        self.query, self.key = (self.query if asked_apart else None), None
        del self.value

    def _divide_queries(self) -> None:
        at = 0
        for kind, count, has_query, _ in self._counts:
            group, rows = self.groups[kind], count * self.size * has_query
            if isinstance(group, DotProductHeads) and self.query is not None:
                with torch.no_grad():
                    self.query.weight[at : at + rows] /= math.sqrt(self.size)
                    self.query.bias[at : at + rows] /= math.sqrt(self.size)
                group.divided = True
            at += rows

    def _projected(
        self, x: Tensor, layout: Layout, asked: Tensor, to_askers: Layout
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Query, key and value of each kind that has them, each (b, n, s, d)."""
        of_query = [count for _, count, has_query, _ in self._counts if has_query]
        of_key = [count for _, count, _, has_key in self._counts if has_key]
        of_value = [count for _, count, _, _ in self._counts]
        query = self._split(self.query, asked, of_query, to_askers)
        if self.merged is None:
            key = self._split(self.key, x, of_key, layout)
            return query, key, self._split(self.value, x, of_value, layout)
        if self.query is not None:
            every = self._split(self.merged, x, of_key + of_value, layout)
        else:
            every = self._split(self.merged, x, of_query + of_key + of_value, layout)
            query, every = every[: len(of_query)], every[len(of_query) :]
        return query, every[: len(of_key)], every[len(of_key) :]

    def _split(
        self, linear: nn.Linear | None, x: Tensor, counts: list[int], layout: Layout
    ) -> list[Tensor]:
        """(b, s, h) -> (b, n, s, d) for each n of `counts`."""
        if linear is None:
            return []
        y = layout.split(linear(x), self.size)
        return [y] if len(counts) == 1 else list(torch.split(y, counts, dim=1))

    def _position_scores(self, query: Tensor, table: Tensor, divided: bool) -> Tensor:
        """Q·R^T / sqrt(d) as (b, n, query, key), by skewing instead of gathering.

        With the 2s-1 used rows reversed, key m of query i sits in column m-i+s-1; a
        row one column longer, read with one column less, moves row i left by i.
        """
        b, n, s = query.shape[0], query.shape[1], query.shape[2]
        middle = table.shape[0] // 2
        used = table[middle - s + 1 : middle + s].flip(0)
        scores = (query if divided else query / math.sqrt(self.size)) @ used.t()  # (b, n, s, 2s-1)
        flat = F.pad(scores, (0, 1)).reshape(b, n, 2 * s * s)
        flat = flat[:, :, s - 1 : s - 1 + s * (2 * s - 1)]
        return flat.reshape(b, n, s, 2 * s - 1)[:, :, :, :s]


class DotProductHeads(nn.Module):
    """sa_sdp: scaled dot-product attention. `divided`: the query comes divided by sqrt(d)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.divided = False

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        # On CPUs the fused call has no dropout, and in bfloat16 it is the slower one by far;
        # it also fixes a memory layout that graphs lack.
        apart = not q.is_cuda and (dropout > 0 or q.dtype == torch.bfloat16)
        if apart or torch.compiler.is_exporting():
            scores = (q if self.divided else q / math.sqrt(q.shape[3])) @ k.transpose(2, 3) + bias
            return dropped(torch.softmax(scores, dim=-1), dropout) @ v
        scale = 1.0 if self.divided else None
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale
        )


class WeightedHeads(DotProductHeads):
    """sa_wma: the query passes a learned (d, d) matrix first."""

    def __init__(self, count: int, size: int, dropout: float) -> None:
        super().__init__(dropout)
        self.weight = nn.Parameter(torch.empty(count, size, size))
        nn.init.uniform_(self.weight, -WEIGHTED_INIT, WEIGHTED_INIT)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return super().forward(q @ self.weight, k, v, bias)


class _PositionalHeads(nn.Module):
    """What heads without content scores share: C from the bias alone."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)

    def context(self, v: Tensor, bias: Tensor) -> Tensor:
        """(b, n, s, d), or (b, n, 1, d) where all queries see the same."""
        context: Tensor = self.dropout(torch.softmax(bias, dim=-1)) @ v
        return context


class FourierHeads(_PositionalHeads):
    """l_dft: Re of the 2-D Fourier transform of V = C_s·V·C_d - S_s·V·S_d."""

    length_cosines: Tensor
    length_sines: Tensor
    size_cosines: Tensor
    size_sines: Tensor

    def __init__(self, size: int, length: int, scaled: bool, dropout: float) -> None:
        super().__init__(dropout)
        scale = 1 / math.sqrt(length * size) if scaled else 1.0
        for axis, count, factor in (("length", length, scale), ("size", size, 1.0)):
            cosines, sines = fourier_matrices(count)
            self.register_buffer(f"{axis}_cosines", cosines * factor, persistent=False)
            self.register_buffer(f"{axis}_sines", sines * factor, persistent=False)

    def forward(self, q: Tensor | None, k: None, v: Tensor, bias: Tensor) -> Tensor:
        even = self.length_cosines @ v @ self.size_cosines
        odd = self.length_sines @ v @ self.size_sines
        return self.context(v, bias) + (even - odd)


class CosineHeads(_PositionalHeads):
    """l_dct: the 2-D DCT-II of V, D_s·V·D_d^T, unnormalised but for `lt_scale`."""

    over_length: Tensor
    over_size: Tensor

    def __init__(self, size: int, length: int, scaled: bool, dropout: float) -> None:
        super().__init__(dropout)
        scale = 1 / (2 * math.sqrt(length * size)) if scaled else 1.0
        self.register_buffer("over_length", cosine_matrix(length) * scale, persistent=False)
        self.register_buffer("over_size", cosine_matrix(size).t().contiguous(), persistent=False)

    def forward(self, q: Tensor | None, k: None, v: Tensor, bias: Tensor) -> Tensor:
        return self.context(v, bias) + self.over_length @ v @ self.over_size


class ConvolutionHeads(_PositionalHeads):
    """c_k: each position mixes k neighbours with weights made from its K and Q.

    K' = pointwise(depthwise_k(K)) + b, a = softmax over taps of Lin(K' * Q),
    out[i] = sum over t of a[i, t] · Lin(V)[i + t - (k-1)/2]; the d channels share a.
    """

    def __init__(self, count: int, size: int, taps: int, dropout: float) -> None:
        super().__init__(dropout)
        self.taps = taps
        self.depthwise = nn.Parameter(torch.empty(count * size, 1, taps))
        self.pointwise = nn.Parameter(torch.empty(count, size, size))
        self.pointwise_bias = nn.Parameter(torch.zeros(count, 1, size))
        self.kernel = nn.Parameter(torch.empty(count, size, taps))
        self.kernel_bias = nn.Parameter(torch.zeros(count, 1, taps))
        self.content = nn.Parameter(torch.empty(count, size, size))
        self.content_bias = nn.Parameter(torch.zeros(count, 1, size))
        for weight in (self.depthwise, self.pointwise, self.kernel, self.content):
            nn.init.normal_(weight, std=INIT_STD)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        n, s, d, half = *k.shape[1:], self.taps // 2
        channels = k.transpose(2, 3).flatten(1, 2)  # (b, n * d, s)
        mixed = F.conv1d(channels, self.depthwise, padding=half, groups=n * d)
        keys = mixed.reshape(-1, n, d, s).transpose(2, 3) @ self.pointwise + self.pointwise_bias
        taps = torch.softmax((keys * q) @ self.kernel + self.kernel_bias, dim=-1)  # (b, n, s, k)
        content = v @ self.content + self.content_bias
        return self.context(v, bias) + self._banded(taps) @ content

    def _banded(self, taps: Tensor) -> Tensor:
        """Weights (b, n, s, k) as a matrix (b, n, query, key), key = query + tap - (k-1)/2.

        By skewing, see `_position_scores`: a row one column longer than it is read with moves
        row i right by i. Boards run one product sooner than k slices.
        """
        b, n, s, k = taps.shape
        width, half = s + k - 1, k // 2
        flat = F.pad(taps, (0, width + 1 - k)).reshape(b, n, s * (width + 1))
        return flat[:, :, : s * width].reshape(b, n, s, width)[:, :, :, half : half + s]


def _group(
    kind: str, count: int, size: int, length: int, lt_scale: bool, dropout: float
) -> nn.Module:
    if kind == "sa_sdp":
        return DotProductHeads(dropout)
    if kind == "sa_wma":
        return WeightedHeads(count, size, dropout)
    if kind == "l_dft":
        return FourierHeads(size, length, lt_scale, dropout)
    if kind == "l_dct":
        return CosineHeads(size, length, lt_scale, dropout)
    return ConvolutionHeads(count, size, int(kind.removeprefix("c_")), dropout)


def _is_divided(group: nn.Module) -> bool:
    return isinstance(group, DotProductHeads) and group.divided
