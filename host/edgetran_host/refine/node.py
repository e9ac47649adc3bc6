"""One model of a refinement: the edit that made it, and what it gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_host.search.objective import Cost
from edgetran_host.space.architecture import Architecture
from edgetran_host.transfer.weight_map import WeightMap

ROOT, ROOT_MODE = 0, "root"
TRAINED, PROBED = "trained", "probed"  # all of a step's training, or only a first part
OVER, DIVERGED = "over budget", "diverged"  # measured, and never trained; trained in vain


@dataclass(frozen=True)
class Node:
    number: int  # in the order they were made; the root is 0
    parent: int | None
    mode: str
    what: str  # for people
    architecture: Architecture
    weights: WeightMap | None  # from the parent's; None for the root
    state: str
    cost: Cost
    parameters: int
    loss: float | None = None  # on held-out rows; None where nothing was trained
    score: float | None = None  # of the exported graph on them; None unless TRAINED
    value: float | None = None  # J against the fine-tuned seed, likewise
    inherited: float = 1.0  # share of its parameters that came from the parent
    measured_again: tuple[Cost, ...] = ()

    def to_json(self) -> dict[str, Any]:
        found = dataclasses.asdict(self)
        found["architecture"] = self.architecture.to_dict()
        found["weights"] = self.weights.to_json() if self.weights else None
        return found

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Node:
        weights = raw["weights"]
        return Node(
            **{
                **raw,
                "architecture": Architecture.from_dict(raw["architecture"]),
                "weights": WeightMap.from_json(weights) if weights else None,
                "cost": Cost(**raw["cost"]),
                "measured_again": tuple(Cost(**one) for one in raw["measured_again"]),
            }
        )


@dataclass(frozen=True)
class Round:
    """One step from one node: its children, and the one that was trained on."""

    parent: int
    mode: str
    children: tuple[int, ...]
    winner: int | None  # None: bounds or budgets left no child
