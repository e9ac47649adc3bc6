"""Layers through which a mean and a variance pass: natural-parameter networks.

Weights are Gaussian; an activation's output is matched in its first two moments, exactly for
ReLU, by a scaled sigmoid for the sigmoid.
Source: Wang, Shi, Yeung, "Natural-parameter networks" (2016).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import softplus

Moments = tuple[torch.Tensor, torch.Tensor]  # mean and variance (n, width)

FIRST_WEIGHT_VARIANCE, FIRST_BIAS_VARIANCE = -6.0, -10.0  # before softplus
TINY = 1e-10
SLOPE = 4 - 2 * math.sqrt(2)  # of the sigmoid that stands for a squared one
SHIFT = -math.log(math.sqrt(2) + 1)


class MomentLinear(nn.Module):
    """Variances are softplus of a parameter."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Linear(inputs, outputs)
        self.weight, self.bias = plain.weight, plain.bias
        self.weight_variance = nn.Parameter(torch.full_like(plain.weight, FIRST_WEIGHT_VARIANCE))
        self.bias_variance = nn.Parameter(torch.full((outputs,), FIRST_BIAS_VARIANCE))

    def forward(self, moments: Moments) -> Moments:
        mean, variance = moments
        spread = softplus(self.weight_variance)
        passed = variance @ (spread + self.weight**2).T + mean**2 @ spread.T
        return mean @ self.weight.T + self.bias, passed + softplus(self.bias_variance)


def relu(moments: Moments) -> Moments:
    mean, variance = moments
    deviation = torch.sqrt(variance + TINY)
    z = mean / deviation
    below = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    out = mean * below + deviation * density
    squared = (mean**2 + variance) * below + mean * deviation * density
    return out, torch.clamp(squared - out**2, min=TINY)


def sigmoid(moments: Moments) -> Moments:
    mean, variance = moments
    out = torch.sigmoid(mean / torch.sqrt(1 + math.pi / 8 * variance))
    wide = torch.sqrt(1 + math.pi / 8 * SLOPE**2 * variance)
    squared = torch.sigmoid(SLOPE * (mean + SHIFT) / wide)
    return out, torch.clamp(squared - out**2, min=TINY)
