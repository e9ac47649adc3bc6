"""How much a refinement may spend, by the effort of its run.

A step's rate is half of that of a trial: its model has learnt already, and only takes in an edit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from edgetran_host.refine.refining import Settings
from edgetran_host.training.recipes import effort

STEP_RATE = 0.5
SPENT: Mapping[str, tuple[int, int, int]] = {  # rounds, rows of a probe, rows of a step
    "quick": (8, 500, 3_000),
    "standard": (24, 1_500, 10_000),
    "thorough": (60, 3_000, 20_000),
}


UNASKED = ("standard", "thorough")  # efforts of which a refinement is a part


def refinement_rounds(name: str) -> int:
    """That a deployment of this effort refines for, unless it is told otherwise."""
    return SPENT[name][0] if name in UNASKED else 0


def settings(name: str, *, rounds: int | None = None, importance: str = "saliency") -> Settings:
    """Raises UsageError for an unknown effort."""
    recipe = effort(name).trial_recipe
    usual, probe_rows, step_rows = SPENT[name]
    return Settings(
        rounds=rounds or usual,
        probe_rows=probe_rows,
        step_rows=step_rows,
        recipe=dataclasses.replace(recipe, learning_rate=STEP_RATE * recipe.learning_rate),
        importance=importance,
    )
