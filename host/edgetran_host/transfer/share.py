"""Says how much of a child came from its parent, by kind of parameter.

A parent of nothing but NaN is transferred: what is not a number in the child was
computed from the parent. Zeros and ones that a new part starts with do not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.transfer.transfer import transfer
from edgetran_host.transfer.weight_map import WeightMap

KINDS = {  # the first pattern that a parameter's name matches
    "embedding": r"embedding\.(word|position|token_type)\b",
    "norms": r".*norm\.",
    "relative_positions": r".*heads\.relative$",
    "head_extras": r".*heads\.groups\.",
    "attention": r".*\.heads(_out|\.query|\.key|\.value)\.",
    "feed_forward": r".*\.stack(_out|\.\d+)\.",
    "projections": r".*project",
    "pooler": r"pooler\.",
    "classifier": r"classifier\.",
}


@dataclass(frozen=True)
class Share:
    """Counts of the child's parameters, by kind; kinds it lacks are left out."""

    inherited: Mapping[str, int]
    total: Mapping[str, int]

    @property
    def overall(self) -> float:
        return sum(self.inherited.values()) / sum(self.total.values())

    def by_kind(self) -> dict[str, float]:
        return {kind: self.inherited[kind] / count for kind, count in self.total.items()}


def measure_share(parent: ModelConfig, weights: WeightMap, child: ModelConfig) -> Share:
    """Raises ArchitectureError where the map does not fit."""
    marked = TextModel(parent)
    with torch.no_grad():
        for parameter in marked.parameters():
            parameter.fill_(torch.nan)
    inherited: dict[str, int] = {}
    total: dict[str, int] = {}
    for name, parameter in transfer(marked, weights, child).named_parameters():
        kind = kind_of(name)
        found = int(torch.isnan(parameter).sum())
        inherited[kind] = inherited.get(kind, 0) + found
        total[kind] = total.get(kind, 0) + parameter.numel()
    return Share(inherited, total)


def kind_of(name: str) -> str:
    """Of a parameter of a TextModel, by its name there."""
    return next(kind for kind, pattern in KINDS.items() if re.match(pattern, name))
