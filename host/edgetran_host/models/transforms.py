"""Fourier and cosine transforms as constant matrices, since devices lack FFT operators.

C_N[a, b] = cos(2 pi a b / N), S_N likewise with sin; D_N[k, m] = 2 cos(pi (2m+1) k / 2N).
Angles are reduced as whole numbers first, so that large N loses no precision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fourier_matrices(count: int) -> tuple[Tensor, Tensor]:
    """C_N and S_N, each (N, N) float32."""
    index = torch.arange(count)
    angle = torch.outer(index, index) % count * (2 * math.pi / count)
    return torch.cos(angle.double()).float(), torch.sin(angle.double()).float()


def cosine_matrix(count: int) -> Tensor:
    """D_N, (N, N) float32; D_N @ x is the unnormalised DCT-II of x."""
    index = torch.arange(count)
    steps = torch.outer(index, 2 * index + 1) % (4 * count)
    return (2 * torch.cos(steps.double() * (math.pi / (2 * count)))).float()
