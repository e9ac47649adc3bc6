"""The published surrogate: three small networks of a design's indices and a one-hot board.

`Aleatoric` tells a mean and the variance of the noise, `Teacher` is a network with dropout whose
answers scatter where it knows little, `Student` learns that scatter.
Source: the method's specification, section 7.1.
"""

from __future__ import annotations

import torch
from torch import nn

from edgetran_host.cosearch.legacy.moments import MomentLinear, Moments, relu, sigmoid

WIDTH = 32
DROPOUT = 0.3


class Aleatoric(nn.Module):
    def __init__(self, design: int, places: int) -> None:
        super().__init__()
        self.design = nn.ModuleList([MomentLinear(design, WIDTH), MomentLinear(WIDTH, WIDTH)])
        self.place = nn.ModuleList([MomentLinear(places, WIDTH), MomentLinear(WIDTH, WIDTH)])
        self.joint = nn.ModuleList([MomentLinear(2 * WIDTH, WIDTH), MomentLinear(WIDTH, 1)])

    def forward(self, design: torch.Tensor, place: torch.Tensor) -> Moments:
        """(n, design), (n, places) -> mean and variance (n,), the mean within 0 and 1."""
        parts = []
        for layers, given in ((self.design, design), (self.place, place)):
            moments = relu(layers[0]((given, torch.zeros_like(given))))
            parts.append(sigmoid(layers[1](moments)))
        joined = tuple(torch.cat(both, dim=1) for both in zip(*parts))
        mean, variance = sigmoid(self.joint[1](relu(self.joint[0](joined))))
        return mean[:, 0], variance[:, 0]


class Teacher(nn.Module):
    """Its dropout stays on: `train()` is its only mode."""

    def __init__(self, design: int, places: int) -> None:
        super().__init__()
        self.design = _branch(design, DROPOUT)
        self.place = _branch(places, DROPOUT)
        self.joint = nn.Sequential(
            *_softened(2 * WIDTH, 2 * WIDTH, DROPOUT),
            *_softened(2 * WIDTH, WIDTH, DROPOUT),
            nn.Linear(WIDTH, 1),
            nn.Sigmoid(),
        )

    def forward(self, design: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        return _joined(self, design, place)


class Student(nn.Module):
    def __init__(self, design: int, places: int) -> None:
        super().__init__()
        self.design = _branch(design)
        self.place = _branch(places)
        self.joint = nn.Sequential(*_softened(2 * WIDTH, WIDTH), nn.Linear(WIDTH, 1), nn.Softplus())

    def forward(self, design: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        return _joined(self, design, place)


def _joined(net: Teacher | Student, design: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """(n,)"""
    both = torch.cat([net.design(design), net.place(place)], dim=1)
    found: torch.Tensor = net.joint(both)[:, 0]
    return found


def _branch(inputs: int, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(*_softened(inputs, WIDTH, dropout), *_softened(WIDTH, WIDTH, dropout))


def _softened(inputs: int, outputs: int, dropout: float = 0.0) -> list[nn.Module]:
    drop: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    return [nn.Linear(inputs, outputs), nn.Softplus(), *drop]
