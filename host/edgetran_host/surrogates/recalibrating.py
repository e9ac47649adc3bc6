"""A known board on a new set-up: a few rows move a fitted surrogate, its cost ratios stay.

y = a (work + b constant), with a and b near 1 as a prior: (b - 1) by SPREAD, a by nothing
known. What belongs to the old set-up alone goes: drift, and the polling step unless the
new rows lie on it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from edgetran_protos.errors import DataError
from scipy.optimize import least_squares

from edgetran_host.surrogates.campaigns import campaigns_of
from edgetran_host.surrogates.cost_model import Inputs
from edgetran_host.surrogates.intervals import student_width
from edgetran_host.surrogates.rows import Rows
from edgetran_host.surrogates.surrogate import (
    SURE_ERROR,
    Confidence,
    MeasureModel,
    Surrogate,
)

LEAST_ROWS = 2
CONSTANT_SPREAD = 0.3  # in logarithms: start-up differs from set-up to set-up
NOISE = 0.03  # of a row, in logarithms


def recalibrate(surrogate: Surrogate, rows: Rows) -> Surrogate:
    """Raises DataError for too few rows or rows of another kind."""
    if len(set(rows.ids)) < LEAST_ROWS:
        raise DataError(
            f"{len(set(rows.ids))} designs cannot recalibrate, at least {LEAST_ROWS} are needed",
            hint="five that differ in size are a good number",
        )
    inputs = surrogate.inputs(rows)
    inputs = replace(inputs, times=np.full(len(rows), np.nan))
    measures = {}
    for name, measure in surrogate.measures.items():
        values = rows.measures[name]
        known = np.isfinite(values)
        if known.sum() >= LEAST_ROWS:
            measures[name] = _moved(measure, inputs.take(known), values[known])
    if not measures:
        raise DataError("the rows measure nothing that the surrogate foretells")
    return replace(
        surrogate,
        measures=measures,
        campaigns=campaigns_of(rows),
        rows=len(rows),
        setting=dict(rows.setting),
    )


def _moved(measure: MeasureModel, inputs: Inputs, values: np.ndarray) -> MeasureModel:
    model = replace(measure.model, drift=None)
    if model.polling and not model.polling.agrees(values):
        model = replace(model, polling=None)
    late = model.polling.step / 2 if model.polling else 0.0
    base = replace(measure, model=replace(model, polling=None), scale=1.0, constant_scale=1.0)
    aims = np.maximum(values - late, 0.05 * values)

    def errors(found: np.ndarray) -> np.ndarray:
        scale, constant = np.exp(found)
        moved = replace(base, scale=scale, constant_scale=constant)
        left = np.log(aims / moved.predict(inputs)) / NOISE
        return np.append(left, found[1] / CONSTANT_SPREAD)

    start = np.log(aims / base.predict(inputs))
    first = np.array([float(np.median(start)), 0.0])
    scale, constant = np.exp(least_squares(errors, first, loss="soft_l1").x)
    moved = replace(measure, model=model, scale=float(scale), constant_scale=float(constant))
    left = np.log(values / moved.predict(inputs))
    width = max(measure.half_width, student_width(left))
    error = float(np.abs(np.expm1(left)).mean())
    low = width > math.log1p(2.5 * SURE_ERROR)
    return replace(
        moved,
        half_width=width,
        error=max(error, measure.error),
        confidence=Confidence("low", "the new rows fit the costs badly")
        if low
        else measure.confidence,
        curve={},
    )
