"""Learns a board's surrogate by measuring: a campaign of one board whose queue learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetran.progress import OnProgress
from edgetran_protos.errors import BoardError
from edgetran_protos.measuring.reasons import SUSPECT

from edgetran_host.campaign.cells import Cells
from edgetran_host.campaign.plan import Plan, settle
from edgetran_host.campaign.running import Outcome, run
from edgetran_host.learning.learner import MEASURE, Learner, fold_mixed
from edgetran_host.surrogates.campaigns import campaigns_of, times
from edgetran_host.surrogates.cost_model import Inputs
from edgetran_host.surrogates.few_shot import fit_few
from edgetran_host.surrogates.rows import Rows, read_rows
from edgetran_host.surrogates.selection import JUDGING_SEED, cross_validate
from edgetran_host.surrogates.shipped import datasheets
from edgetran_host.surrogates.surrogate import KINDS, Surrogate, coverage, fit_surrogate


@dataclass(frozen=True)
class Learnt:
    surrogate: Surrogate
    outcome: Outcome
    suspect: int  # of the rows: learnt from, by a rule that bears wrong ones
    stopped_early: bool
    coverage: Mapping[str, float]  # by measure, share of rows in their 90 % interval


def learn(
    plan: Plan,
    folder: Path,
    budget: int,
    most_error: float,
    seed: int,
    on_progress: OnProgress,
    patience_s: float,
) -> Learnt:
    """Raises BoardError when the board stays away, DataError when it gave too few figures."""
    learner = Learner(plan, budget, most_error, seed)
    settle(plan, folder)
    (outcome,) = run(plan, folder, on_progress, patience_s, learner)
    if outcome.gave_up:
        raise BoardError(
            f"{outcome.target} stayed away: {outcome.gave_up}",
            hint=f"what it measured is in {outcome.data}; run the same command again",
        )
    rows = read_rows([outcome.data])
    few, many = fit_few(rows, [], datasheets()), fit_surrogate(rows)
    by_sheets = few.measures[MEASURE].error <= many.measures[MEASURE].error
    surrogate = few if by_sheets else many
    raw = Cells(folder, outcome.target).valid_rows()
    return Learnt(
        surrogate,
        outcome,
        suspect=sum(row["verdict"] == SUSPECT for row in raw),
        stopped_early=learner.stopped_early,
        coverage=_coverage(surrogate, rows, by_sheets=by_sheets),
    )


def _coverage(surrogate: Surrogate, rows: Rows, *, by_sheets: bool) -> dict[str, float]:
    """Each row by a model that has not seen its design."""
    inputs = Inputs(rows.terms, rows.memory, times(rows, campaigns_of(rows)))
    found = {}
    for name, measure in surrogate.measures.items():
        known = np.flatnonzero(np.isfinite(rows.measures[name]))
        values, ids = rows.measures[name][known], [rows.ids[at] for at in known]
        if by_sheets:
            foretold = fold_mixed(name, inputs.take(known), values, ids, rows.names)
        else:
            effects = measure.model.effects
            foretold = cross_validate(
                inputs.take(known), values, ids, effects, KINDS[name], JUDGING_SEED
            )
        found[name] = coverage(foretold, values, measure.half_width)
    return found
