"""A board's surrogate: one model a measure, an interval each, and how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.surrogates.campaigns import Campaign, campaigns_of, times
from edgetran_host.surrogates.cost_model import (
    CostModel,
    Effects,
    Inputs,
    MeasureKind,
    fit_cost_model,
)
from edgetran_host.surrogates.intervals import half_width, inside
from edgetran_host.surrogates.rows import MEASURES, Rows
from edgetran_host.surrogates.selection import choose_effects, clipped_errors

LEAST_ROWS = 5
SURE_ROWS = 16  # fewer: low confidence, whatever they say
SURE_ERROR = 0.20  # a higher out-of-fold error: low confidence
CURVE_ROWS = (8, 16, 32, 64, 128, 256, 512, 1024)
CURVE_REPEATS = 5
KINDS = {
    "latency_s": MeasureKind(is_sum=True, is_polled=True),
    "energy_j": MeasureKind(is_sum=True, may_lack=True),
    "peak_power_w": MeasureKind(is_sum=False),
}


@dataclass(frozen=True)
class Confidence:
    level: str  # "high" or "low"
    reason: str  # empty when high


@dataclass(frozen=True)
class MeasureModel:
    """One measure: what it costs, how sure that is."""

    model: CostModel
    half_width: float  # of the 90 % interval, in logarithms
    error: float  # mean absolute percentage error out of fold, as a share
    confidence: Confidence
    curve: Mapping[int, float] = field(default_factory=dict)  # rows -> error on the others
    scale: float = 1.0  # set by recalibration: of the whole
    constant_scale: float = 1.0  # of the constant alone, before `scale`

    def predict(self, inputs: Inputs) -> np.ndarray:
        """(n,) the most likely value."""
        if self.scale == self.constant_scale == 1.0:
            return self.model.predict(inputs)
        found = self.scale * self.model.smooth(inputs)
        found = found + self.scale * (self.constant_scale - 1) * self.model.constant
        most = np.inf if self.model.most is None else self.scale * self.model.most
        found = np.clip(found, self.scale * self.model.least, most)
        return self.model.polling.round_up(found) if self.model.polling else found


@dataclass(frozen=True)
class Prediction:
    """Of n designs, (n,) each."""

    value: np.ndarray
    low: np.ndarray  # of the 90 % interval
    high: np.ndarray


@dataclass(frozen=True)
class Surrogate:
    names: tuple[str, ...]  # of the terms
    campaigns: tuple[Campaign, ...]  # it was fitted on, in order of time
    rows: int
    setting: Mapping[str, Any]
    measures: Mapping[str, MeasureModel]

    def predict(self, rows: Rows) -> dict[str, Prediction]:
        """By measure. Raises DataError for rows of other terms."""
        inputs = self.inputs(rows)
        found = {}
        for name, measure in self.measures.items():
            value, width = measure.predict(inputs), np.exp(measure.half_width)
            found[name] = Prediction(value, value / width, value * width)
        return found

    def inputs(self, rows: Rows) -> Inputs:
        if rows.names != self.names:
            raise DataError(
                "the rows describe designs otherwise than those of the surrogate",
                hint="one speaks of architectures, the other of work counts; fit one of each",
            )
        return Inputs(rows.terms, rows.memory, times(rows, self.campaigns))


def fit_surrogate(rows: Rows) -> Surrogate:
    """Raises DataError for rows too few to learn of."""
    if len(set(rows.ids)) < LEAST_ROWS:
        raise DataError(
            f"{len(set(rows.ids))} designs are too few, at least {LEAST_ROWS} are needed",
            hint="measure more, or start from another board: edgetran surrogate recalibrate",
        )
    campaigns = campaigns_of(rows)
    measures = {}
    for name in MEASURES:
        known = np.isfinite(rows.measures[name])
        if known.sum() >= LEAST_ROWS:
            measures[name] = _fit_measure(name, rows.take(known), campaigns)
    return Surrogate(rows.names, campaigns, len(rows), dict(rows.setting), measures)


def _fit_measure(name: str, rows: Rows, campaigns: tuple[Campaign, ...]) -> MeasureModel:
    values = rows.measures[name]
    inputs = Inputs(rows.terms, rows.memory, times(rows, campaigns))
    kind = KINDS[name]
    choice = choose_effects(inputs, values, rows.ids, kind)
    error = float(np.abs(choice.foretold / values - 1).mean())
    typical = float(clipped_errors(choice.foretold, values).mean())
    return MeasureModel(
        model=fit_cost_model(inputs, values, choice.effects, kind),
        half_width=half_width(choice.foretold, values),
        error=error,
        confidence=confidence_of(len(set(rows.ids)), typical),
        curve=_curve(inputs, values, choice.effects, kind),
    )


def confidence_of(designs: int, error: float) -> Confidence:
    if designs < SURE_ROWS:
        return Confidence("low", f"only {designs} designs measured, {SURE_ROWS} are needed")
    if error > SURE_ERROR:
        return Confidence("low", f"out of fold it errs by {error:.0%}")
    return Confidence("high", "")


def coverage(foretold: np.ndarray, values: np.ndarray, width: float) -> float:
    return float(inside(foretold, values, width).mean())


def _curve(
    inputs: Inputs, values: np.ndarray, effects: Effects, kind: MeasureKind
) -> dict[int, float]:
    """Rows used -> mean error on the rows that were not, over a few draws."""
    found: dict[int, list[float]] = {}
    for seed in range(CURVE_REPEATS):
        order = np.random.default_rng(seed).permutation(len(values))
        for count in CURVE_ROWS:
            if count > 0.8 * len(values):
                break
            seen, held = order[:count], order[count:]
            used = effects if count >= 30 else Effects(work=effects.work)
            model = fit_cost_model(inputs.take(seen), values[seen], used, kind)
            errors = clipped_errors(model.predict(inputs.take(held)), values[held])
            found.setdefault(count, []).append(float(errors.mean()))
    return {count: float(np.mean(one)) for count, one in found.items()}
