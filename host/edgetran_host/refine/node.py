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
MEASURED = "measured"  # and not trained yet
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
    runtime: str
    precision: str
    pieces: int  # of the vocabulary
    table_width: int  # of the embeddings; below the first hidden size they are factorised
    tokens_per_row: float  # mean of held-out rows, without padding
    loss: float | None = None  # of `held_out`; None where nothing was trained
    served_loss: float | None = None  # of the exported graph; None unless TRAINED
    score: float | None = None  # of the exported graph on held-out rows; None unless TRAINED
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
    winner: int | None  # None: bounds or budgets left no child, or none was better
    left_out: tuple[str, ...] = ()  # what could not be exported, and why

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Round:
        lists = {name: tuple(raw[name]) for name in ("children", "left_out")}
        return Round(**{**raw, **lists})
