"""How much a refinement may spend, by the effort of its run.

Rates are a share of those of the search, whose models had everything to learn. A step's model
only takes in an edit: at half the rate a trained model comes out of a step worse than it went in,
with an edit and without one; at a fifth by far less, or not at all (docs/results.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from edgetran_protos.errors import UsageError

from edgetran_host.refine.ablations import GROWTH, SALIENCY, in_order
from edgetran_host.refine.cycle import REALLOCATING, SHRINKING
from edgetran_host.refine.proposals import GROWING
from edgetran_host.refine.settings import Settings
from edgetran_host.search.objective import ACCURACY, BALANCE
from edgetran_host.training.recipes import effort

STEP_RATE = 0.2
SPENT: Mapping[str, tuple[int, int, int]] = {  # rounds, rows of a probe, rows of a step
    "quick": (8, 500, 3_000),
    "standard": (10, 800, 3_200),
    "thorough": (60, 3_000, 20_000),
}


UNASKED = ("standard", "thorough")  # efforts of which a refinement is a part


def refinement_rounds(name: str) -> int:
    """That a deployment of this effort refines for, unless it is told otherwise."""
    return SPENT[name][0] if name in UNASKED else 0


def settings(
    name: str,
    *,
    prefer: str = BALANCE,
    rounds: int | None = None,
    importance: str | None = None,
    without: Collection[str] = (),
) -> Settings:
    """prefer: of the run; accuracy has capacity moved, no layers dropped.

    importance: default `saliency`, without that `random`. without: of `ablations.PARTS`.

    Raises UsageError for an unknown effort or part.
    """
    if SALIENCY in without and importance == "saliency":
        raise UsageError(
            "it cannot go by saliency and be without it", hint="leave one of the two options out"
        )
    recipe = effort(name).trial_recipe
    usual, probe_rows, step_rows = SPENT[name]
    modes = REALLOCATING if prefer == ACCURACY else SHRINKING
    return Settings(
        rounds=rounds or usual,
        probe_rows=probe_rows,
        step_rows=step_rows,
        recipe=dataclasses.replace(recipe, learning_rate=STEP_RATE * recipe.learning_rate),
        importance=importance or ("random" if SALIENCY in without else "saliency"),
        modes=tuple(m for m in modes if GROWTH not in without or m not in GROWING),
        without=in_order(without),
    )
