"""An assumed truth of scores over the whole design space, as plain arrays.

A layer j of l layers has traits psi_j (m,): each a size on a logarithmic scale of about 0 to
1, or a saturating share of a kind of head. With t_j = j / (l - 1) from 0 to 1, features are

    phi = [ln(l) / ln(12),
           mean_j psi_j, mean_j cos(pi t_j) psi_j, mean_j cos(2 pi t_j) psi_j,
           mean_j (-1)^j psi_j, min_j psi_j, mean_j |psi_j - psi_(j+1)|]           (p,)
    u   = bias + w . phi + phi' Q phi + sum_k height_k tanh((direction_k . phi - at_k) / width_k)
    score = low + (high - low) / (1 + exp(-u))

With w on the plain means and no steps the truth is smooth and its optimum nearly tied; the
other features make positions want different things, neighbours pair, and the least layer count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer

SATURATION = 4.0  # of a kind's share: a quarter of the heads gives 63 % of what all give
TRAITS = (
    "width",  # ln(h / 128) / ln 6
    "neurons",  # ln(sum of f / 4 h) / ln 8
    "stack",  # (depth - 1) / 2
    "squeeze",  # ln(widest f / narrowest f) / ln 16
    "heads",  # ln(n / 2) / ln 6
    "head_size",  # ln(d / 10) / ln 38.4
    *(f"{kind}_share" for kind in HEAD_KINDS),  # 1 - exp(-SATURATION share)
)
POOLS = ("mean", "ends", "middle", "parity", "least", "jump")  # in the order of phi
FEATURES = ("depth", *(f"{pool}_{trait}" for pool in POOLS for trait in TRAITS))


@dataclass(frozen=True)
class ScoreTruth:
    low: float
    high: float
    bias: float
    linear: np.ndarray  # (p,)
    quadratic: np.ndarray  # (p, p)
    step_heights: np.ndarray  # (k,)
    step_directions: np.ndarray  # (k, p)
    step_places: np.ndarray  # (k,)
    step_widths: np.ndarray  # (k,)

    def scores(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """(n,) without noise."""
        phi = features(architectures)
        u = self.bias + phi @ self.linear + np.einsum("ni,ij,nj->n", phi, self.quadratic, phi)
        sides = np.tanh((phi @ self.step_directions.T - self.step_places) / self.step_widths)
        u = u + sides @ self.step_heights
        found: np.ndarray = self.low + (self.high - self.low) / (1 + np.exp(-u))
        return found


def features(architectures: Sequence[Architecture]) -> np.ndarray:
    """(n, p) in the order of FEATURES."""
    return np.array([_features(one) for one in architectures]).reshape(-1, len(FEATURES))


def _features(architecture: Architecture) -> np.ndarray:
    psi = np.array([_traits(layer) for layer in architecture.layers])  # (l, m)
    count = len(psi)
    places = np.arange(count) / max(1, count - 1)
    weights = np.array(
        [
            np.ones(count),
            np.cos(np.pi * places),
            np.cos(2 * np.pi * places),
            (-1.0) ** np.arange(count),
        ]
    )
    jumps = np.abs(np.diff(psi, axis=0)).sum(axis=0) / max(1, count - 1)
    pooled = [*(weights @ psi / count), psi.min(axis=0), jumps]
    return np.concatenate([[math.log(count) / math.log(12)], *pooled])


@lru_cache(maxsize=100_000)
def _traits(layer: Layer) -> tuple[float, ...]:
    heads, stack = len(layer.heads), layer.feed_forward
    return (
        math.log(layer.hidden / 128) / math.log(6),
        math.log(sum(stack) / (4 * layer.hidden)) / math.log(8),
        (len(stack) - 1) / 2,
        math.log(max(stack) / min(stack)) / math.log(16),
        math.log(heads / 2) / math.log(6),
        math.log(layer.head_size / 10) / math.log(38.4),
        *(1 - math.exp(-SATURATION * layer.heads.count(kind) / heads) for kind in HEAD_KINDS),
    )
