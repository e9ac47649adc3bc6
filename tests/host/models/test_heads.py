"""Every head kind against the formulas of the specification, one element at a time."""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from edgetran_host.models.heads import MASKED, Heads
from edgetran_host.space.architecture import HEAD_KINDS, Layer
from numpy.typing import NDArray

Array = NDArray[np.float64]
LENGTH = 7
MAX_POSITIONS = 9
MIXED = ("sa_sdp", "sa_sdp", "sa_wma", "l_dft", "l_dct", "l_dct", "c_5", "c_9", "c_13")


def make(layer: Layer, positions: str, lt_scale: bool = True) -> Heads:
    """Heads with large weights and biases, so that no term hides behind another."""
    torch.manual_seed(len(layer.heads))
    heads = Heads(layer, positions, MAX_POSITIONS, LENGTH, lt_scale, dropout=0.1).eval()
    with torch.no_grad():
        for weight in heads.parameters():
            weight.normal_(std=0.4)
    return heads


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max())
    whole: Array = powers / powers.sum()
    return whole


class Slow:
    """The formulas, written out: row by row, tap by tap, float64."""

    def __init__(self, heads: Heads, layer: Layer, positions: str, lt_scale: bool) -> None:
        self.weights: Mapping[str, Array] = {
            name: weight.double().numpy() for name, weight in heads.state_dict().items()
        }
        self.layer, self.relative, self.lt_scale = layer, positions == "relative", lt_scale

    def __call__(self, x: Array, keep: Array) -> Array:
        """x (s, h), keep (s,) -> (s, A)."""
        return np.concatenate([self.head(j, x, keep) for j in range(len(self.layer.heads))], 1)

    def project(self, name: str, head: int, x: Array) -> Array:
        """x·W + b, the rows of one head; rows of heads that read nothing are left out."""
        kinds, d = self.layer.heads, self.layer.head_size
        reads = {
            "query": lambda kind: self.relative or kind[0] != "l",
            "key": lambda kind: kind[0] != "l",
            "value": lambda kind: True,
        }[name]
        at = sum(reads(kind) for kind in kinds[:head]) * d
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        found: Array = x @ weight[at : at + d].T + bias[at : at + d]
        return found

    def head(self, head: int, x: Array, keep: Array) -> Array:
        kind, d, s = self.layer.heads[head], self.layer.head_size, len(x)
        own = head - self.layer.heads.index(kind)  # among those of its kind
        v = self.project("value", head, x)
        needs_query = self.relative or kind[0] != "l"
        q = self.project("query", head, x) if needs_query else np.zeros_like(v)
        k = self.project("key", head, x) if kind[0] != "l" else np.zeros_like(v)
        left = q @ self.weights[f"groups.{kind}.weight"][own] if kind == "sa_wma" else q
        y = np.zeros((s, d))
        for i in range(s):
            scores = np.zeros(s)
            for m in range(s):
                if kind.startswith("sa_"):
                    scores[m] += left[i] @ k[m]
                if self.relative:
                    scores[m] += q[i] @ self.weights["relative"][i - m + MAX_POSITIONS - 1]
                scores[m] = scores[m] / math.sqrt(d) + (0.0 if keep[m] else MASKED)
            y[i] = softmax(scores) @ v
        if kind == "l_dft":
            return y + fourier(v) / (math.sqrt(s * d) if self.lt_scale else 1.0)
        if kind == "l_dct":
            return y + cosine(v) / (2 * math.sqrt(s * d) if self.lt_scale else 1.0)
        return y + self.convolution(kind, own, q, k, v) if kind.startswith("c_") else y

    def convolution(self, kind: str, own: int, q: Array, k: Array, v: Array) -> Array:
        w = {n: self.weights[f"groups.{kind}.{n}"] for n in CONVOLUTION}
        (s, d), taps = v.shape, int(kind[2:])
        half = (taps - 1) // 2
        mixed, y = np.zeros((s, d)), np.zeros((s, d))
        for i in range(s):
            for t in range(taps):
                if 0 <= i + t - half < s:
                    for c in range(d):
                        mixed[i, c] += w["depthwise"][own * d + c, 0, t] * k[i + t - half, c]
        keys = mixed @ w["pointwise"][own] + w["pointwise_bias"][own, 0]
        content = v @ w["content"][own] + w["content_bias"][own, 0]
        for i in range(s):
            a = softmax((keys[i] * q[i]) @ w["kernel"][own] + w["kernel_bias"][own, 0])
            for t in range(taps):
                if 0 <= i + t - half < s:
                    y[i] += a[t] * content[i + t - half]
        return y


CONVOLUTION = (
    "depthwise",
    "pointwise",
    "pointwise_bias",
    "kernel",
    "kernel_bias",
    "content",
    "content_bias",
)


def fourier(v: Array) -> Array:
    """Re of the 2-D discrete Fourier transform, by its definition."""
    s, d = v.shape
    y = np.zeros((s, d))
    for a in range(s):
        for b in range(d):
            turn = sum(
                v[i, c] * cmath.exp(-2j * math.pi * (a * i / s + b * c / d))
                for i in range(s)
                for c in range(d)
            )
            y[a, b] = complex(turn).real
    return y


def cosine(v: Array) -> Array:
    """The unnormalised 2-D DCT-II, by its definition."""
    s, d = v.shape
    y = np.zeros((s, d))
    for a in range(s):
        for b in range(d):
            y[a, b] = sum(
                v[i, c]
                * 2
                * math.cos(math.pi * (2 * i + 1) * a / (2 * s))
                * 2
                * math.cos(math.pi * (2 * c + 1) * b / (2 * d))
                for i in range(s)
                for c in range(d)
            )
    return y


def check(layer: Layer, positions: str, lt_scale: bool = True, length: int = LENGTH) -> None:
    heads = make(layer, positions, lt_scale)
    x = torch.randn(2, length, layer.hidden, generator=torch.Generator().manual_seed(3))
    keep = torch.ones(2, length)
    keep[1, length - 3 :] = 0
    found = heads(x, ((1 - keep) * MASKED)[:, None, None, :]).detach().double().numpy()
    slow = Slow(heads, layer, positions, lt_scale)
    wanted = np.stack([slow(x[b].double().numpy(), keep[b].numpy()) for b in range(2)])
    assert found.shape == (2, length, layer.attention_width)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("positions", ["absolute", "relative"])
class TestAgainstTheFormulas:
    @pytest.mark.parametrize("lt_scale", [True, False])
    @pytest.mark.parametrize("kind", HEAD_KINDS)
    def test_one_kind(self, kind: str, positions: str, lt_scale: bool) -> None:
        layer = Layer(hidden=11, heads=(kind,) * 3, head_size=3, feed_forward=(5,))
        check(layer, positions, lt_scale)

    @pytest.mark.parametrize("lt_scale", [True, False])
    def test_every_kind_in_one_layer(self, positions: str, lt_scale: bool) -> None:
        layer = Layer(hidden=37, heads=MIXED, head_size=4, feed_forward=(5,))  # A = 36 < 37
        check(layer, positions, lt_scale)

    @pytest.mark.parametrize("kind", ["sa_sdp", "sa_wma", "c_5", "c_13"])
    def test_shorter_than_the_configured_length(self, kind: str, positions: str) -> None:
        layer = Layer(hidden=8, heads=(kind,) * 2, head_size=4, feed_forward=(5,))
        check(layer, positions, length=4)

    def test_one_head_of_odd_width(self, positions: str) -> None:
        check(Layer(hidden=3, heads=("l_dct",), head_size=5, feed_forward=(5,)), positions)


class TestRelativeTable:
    def test_rows_beyond_the_length_are_not_read(self) -> None:
        layer = Layer(hidden=8, heads=("sa_sdp",), head_size=4, feed_forward=(5,))
        heads = make(layer, "relative")
        assert heads.relative is not None
        assert heads.relative.shape == (2 * MAX_POSITIONS - 1, 4)
        heads(torch.randn(1, 5, 8), torch.zeros(1, 1, 1, 5)).square().sum().backward()
        assert heads.relative.grad is not None
        read = heads.relative.grad.abs().sum(1) > 0
        middle = MAX_POSITIONS - 1
        assert read.nonzero().flatten().tolist() == list(range(middle - 4, middle + 5))


class TestUnread:
    def test_l_heads_have_no_key_and_with_absolute_positions_no_query(self) -> None:
        layer = Layer(hidden=8, heads=("l_dft", "l_dct"), head_size=4, feed_forward=(5,))
        assert make(layer, "absolute").query is None
        assert make(layer, "relative").query is not None
        assert make(layer, "relative").key is None

    def test_a_weighted_head_has_a_matrix_of_its_own(self) -> None:
        layer = Layer(hidden=8, heads=("sa_wma",) * 2, head_size=4, feed_forward=(5,))
        first, second = make(layer, "absolute").state_dict()["groups.sa_wma.weight"]
        assert not torch.equal(first, second)


class TestLegacyZero:
    """Checkpoints trained while sa heads gave zeros: those heads, and no others, are silent."""

    def heads(self, legacy: bool, kinds: tuple[str, ...] = MIXED) -> Heads:
        layer = Layer(hidden=8, heads=kinds, head_size=4, feed_forward=(5,))
        torch.manual_seed(0)
        return Heads(layer, "relative", MAX_POSITIONS, LENGTH, True, 0.1, legacy).eval()

    def test_sa_heads_give_zeros_and_the_others_what_they_did(self) -> None:
        x = torch.randn(2, LENGTH, 8)
        masked = torch.zeros(2, 1, 1, LENGTH)
        wanted, found = self.heads(False)(x, masked), self.heads(True)(x, masked)
        attention = 3 * 4  # two sa_sdp, one sa_wma
        assert wanted[..., :attention].abs().min() > 0
        assert not found[..., :attention].any()
        assert torch.equal(found[..., attention:], wanted[..., attention:])

    def test_has_the_same_weights(self) -> None:
        names = [set(self.heads(legacy).state_dict()) for legacy in (False, True)]
        assert names[0] == names[1]

    def test_a_layer_of_nothing_else(self) -> None:
        found = self.heads(True, ("sa_sdp", "sa_wma"))(
            torch.randn(2, 5, 8), torch.zeros(2, 1, 1, 5)
        )
        assert found.shape == (2, 5, 8)
        assert not found.any()
