"""What a search's trials are trials of: the request, the pairs that may be tried, the goal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_protos.bundle import canonical_json

from edgetran_host.cosearch.goal import COSTS, Goal
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.cosearch.stored import (
    goal_from_json,
    goal_to_json,
    product_from_json,
    product_to_json,
)

AXES = ("score", *COSTS[:3])  # of a front, in the order of `front.objectives`
FORMAT = 1


@dataclass(frozen=True)
class Brief:
    """`request` is what the user asked for, as plain data; it alone tells searches apart."""

    request: Mapping[str, Any]
    product: ProductSpace
    goal: Goal
    whole_front: bool = False  # looks for all trade-offs, not for the best value of the goal

    @property
    def identity(self) -> str:
        """Eight hex digits that name the request."""
        return hashlib.sha256(canonical_json(dict(self.request))).hexdigest()[:8]

    @property
    def axes(self) -> tuple[str, ...]:
        """Of the front: those of AXES that every place gives."""
        known = self.goal.references.values()
        return tuple(name for name in AXES if all(getattr(one, name) is not None for one in known))

    def values(self, place: Place, outcome: Outcome) -> tuple[float, ...] | None:
        """What Optuna keeps of a trial, in SI; None: it was not trained."""
        if outcome.score is None:
            return None
        if not self.whole_front:
            return (self.goal.value(place, outcome),)
        return tuple(float(getattr(outcome, name)) for name in self.axes)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "request": dict(self.request),
            "product": product_to_json(self.product),
            "goal": goal_to_json(self.goal),
            "whole_front": self.whole_front,
        }

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Brief:
        return Brief(
            raw["request"],
            product_from_json(raw["product"]),
            goal_from_json(raw["goal"]),
            raw["whole_front"],
        )
