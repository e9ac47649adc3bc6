"""A queue that learns: each design is chosen by what the board measured so far.

What it knows are the campaign's cells, so a killed learner goes on where it stopped. Every
third design is drawn by chance: where the board does what no sum of costs describes, a choice by
the costs' uncertainty alone would look past it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from edgetran_protos.errors import UsageError

from edgetran_host.campaign.cells import Cells
from edgetran_host.campaign.plan import Plan
from edgetran_host.learning.querying import Queries, first_guess
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id
from edgetran_host.surrogates.cost_model import CostModel, Inputs
from edgetran_host.surrogates.few_shot import fit_mixed, sheets
from edgetran_host.surrogates.rows import Rows, rows_of
from edgetran_host.surrogates.selection import FOLDS, JUDGING_SEED, clipped_errors, folds
from edgetran_host.surrogates.shipped import datasheets
from edgetran_host.surrogates.surrogate import LEAST_ROWS
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS, architecture_terms

MEASURE = "latency_s"  # energy is power times time: what tells its costs apart is the same
NOISE = 0.06  # of a row and of what is no sum of costs, relative; the choice hardly depends on it
CHANCE = 3  # every so many designs, one by chance
STOP_ROWS = 8  # an error estimated on fewer stops nothing


class Learner:
    """Raises UsageError for a budget that the plan's candidates cannot fill."""

    def __init__(
        self,
        plan: Plan,
        budget: int,
        most_error: float,
        seed: int,
        terms: np.ndarray | None = None,
    ) -> None:
        """terms (m, k): of the plan's designs, where they are not those of whole layers."""
        if budget > len(plan.designs):
            raise UsageError(
                f"{budget} measurements of {len(plan.designs)} candidates",
                hint="ask for fewer, or for a larger design space",
            )
        self.total = budget
        self.note = ""
        self.stopped_early = False
        self._plan = plan
        self._most_error = most_error
        self._terms = _terms_of(plan.designs) if terms is None else terms
        self._numbers = {architecture_id(one): at for at, one in enumerate(plan.designs)}
        self._queries = Queries(self._terms)
        self._turns = np.random.default_rng(seed).permutation(len(plan.designs))

    def designs(self, cells: Cells) -> Iterator[Architecture]:
        while cells.count() < self.total:
            rows = _rows(cells.valid_rows())
            self._judge(rows)
            if self.stopped_early:
                return
            asked = [at for at, one in enumerate(self._plan.designs) if cells.done(one)]
            yield self._plan.designs[self.choose(rows, asked)]
        self._judge(_rows(cells.valid_rows()))

    def choose(self, rows: Rows | None, asked: Sequence[int]) -> int:
        """The number of the candidate to measure next; asked: those that no longer may be."""
        if len(asked) % CHANCE == CHANCE - 1:
            taken = set(asked)
            return next(int(at) for at in self._turns if int(at) not in taken)
        # What was asked for and gave no figure teaches nothing, and is not asked for again.
        known = [] if rows is None else [self._numbers[one] for one in rows.ids]
        allowed = np.ones(len(self._terms), bool)
        allowed[list(asked)] = False
        return self._queries.best(self._expected(rows), known, NOISE, allowed)

    def _expected(self, rows: Rows | None) -> np.ndarray:
        if rows is None:
            return first_guess(self._terms, tuple(ARCHITECTURE_TERMS))
        unknown = np.zeros(len(self._terms))
        return fit_latency(rows).predict(Inputs(self._terms, unknown, unknown))

    def _judge(self, rows: Rows | None) -> None:
        error = estimated_error(rows)
        if error is None:
            return
        mean, doubt = error
        self.note = f"error {mean:.1%}"
        self.stopped_early = len(rows or ()) >= STOP_ROWS and mean + doubt <= self._most_error


def fit_latency(rows: Rows) -> CostModel:
    """A mixture of what datasheets say of processors, moved by the rows.

    Rows alone do not tell two dozen costs apart before there are as many.
    """
    sources = sheets(MEASURE, rows.names, datasheets())
    return fit_mixed(MEASURE, _inputs(rows), rows.measures[MEASURE], sources)


def estimated_error(rows: Rows | None) -> tuple[float, float] | None:
    """Mean error on rows left out by turns, and its standard error; None of too few rows."""
    if rows is None or len(rows) < LEAST_ROWS:
        return None
    values = rows.measures[MEASURE]
    errors = clipped_errors(
        fold_mixed(MEASURE, _inputs(rows), values, rows.ids, rows.names), values
    )
    return float(errors.mean()), float(errors.std() / math.sqrt(len(errors)))


def fold_mixed(
    name: str, inputs: Inputs, values: np.ndarray, ids: Sequence[str], names: tuple[str, ...]
) -> np.ndarray:
    """(n,) each row by datasheets and the rows of other folds."""
    sources = sheets(name, names, datasheets())
    foretold = np.empty(len(values))
    for held in folds(ids, JUDGING_SEED, FOLDS):
        model = fit_mixed(name, inputs.take(~held), values[~held], sources)
        foretold[held] = model.predict(inputs.take(held))
    return foretold


def _terms_of(designs: Sequence[Architecture]) -> np.ndarray:
    return np.array([list(architecture_terms(design).values()) for design in designs])


def _inputs(rows: Rows) -> Inputs:
    return Inputs(rows.terms, rows.memory, np.full(len(rows), np.nan))


def _rows(raw: Sequence[Mapping[str, Any]]) -> Rows | None:
    return rows_of([("learning", raw)]) if raw else None
