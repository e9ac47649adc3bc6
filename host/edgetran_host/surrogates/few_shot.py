"""A new board from no rows, or a dozen or so: other boards' costs and the datasheet help.

Cost vectors are sums, so a mixture of boards is a board again, and the rows move it:

    mixed = sum_b w_b costs_b,   w_b >= 0
    costs = argmin_(c >= 0) sum_i huber((a_i c - y_i) / y_i) + sum_k (noise (c_k - mixed_k) / s_k)^2

w is fitted on the predictions of the other boards' surrogates and of datasheets' rooflines
(taken as sums). s_k, how far a cost may be off the mixture, is MOVED of it and LEAST_MOVED of
the mean row (both as shares of that row); noise is that of the rows.
Without rows the other boards' costs are scaled by what the datasheets say of both, and averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgetran_devices import UnitModel
from edgetran_protos.errors import DataError
from scipy.optimize import nnls

from edgetran_host.space.architecture import HEAD_KINDS
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.campaigns import campaigns_of
from edgetran_host.surrogates.cost_model import (
    LOWEST_SHARE,
    CostModel,
    Effects,
    Inputs,
    fit_cost_model,
)
from edgetran_host.surrogates.intervals import half_width, student_width
from edgetran_host.surrogates.robust import FIRST_NOISE, HUBER, ROUNDS, fit_costs, robust_sigma
from edgetran_host.surrogates.rows import MEASURES, Rows
from edgetran_host.surrogates.selection import clipped_errors
from edgetran_host.surrogates.surrogate import (
    KINDS,
    Confidence,
    MeasureModel,
    Surrogate,
    confidence_of,
)
from edgetran_host.surrogates.terms import PARAMETER_BYTES, architecture_terms

LEAST_ROWS = 3
MOVED = 0.5  # of a known cost: how far this board's may be off
LEAST_MOVED = 0.03  # of the mean row: a cost that no other board has
LEAST_NOISE = 0.02  # few rows fit by luck
TYPICAL = 64  # designs that boards are compared on
MOVES = 2  # an activation is written and read
KERNELS = {"matrices": 2, "layers": 12, **{f"{kind}_heads": 4 for kind in HEAD_KINDS}}


@dataclass(frozen=True)
class Source:
    """What one design costs elsewhere: a constant and costs of terms."""

    constant: float
    costs: np.ndarray  # (k,)


def fit_few(rows: Rows, others: Sequence[Surrogate], units: Sequence[UnitModel] = ()) -> Surrogate:
    """A surrogate of the rows' board; units: whose datasheets it may be like.

    Raises DataError for too few rows.
    """
    if len(set(rows.ids)) < LEAST_ROWS:
        raise DataError(
            f"{len(set(rows.ids))} designs are too few, at least {LEAST_ROWS} are needed",
            hint="designs that differ in size teach most",
        )
    inputs = Inputs(rows.terms, rows.memory, np.full(len(rows), np.nan))
    measures = {}
    for name in MEASURES:
        known = np.isfinite(rows.measures[name])
        if len({rows.ids[at] for at in np.flatnonzero(known)}) >= LEAST_ROWS:
            sources = _sources(name, rows.names, others, units)
            measures[name] = _fit(name, inputs.take(known), rows.measures[name][known], sources)
    return Surrogate(rows.names, campaigns_of(rows), len(rows), dict(rows.setting), measures)


def fit_none(
    names: tuple[str, ...], others: Sequence[tuple[Surrogate, UnitModel]], unit: UnitModel
) -> Surrogate:
    """From datasheets and other boards alone; how far those foretell each other is the interval.

    Raises DataError for fewer than two boards.
    """
    known = [(one, sheet) for one, sheet in others if one.names == names]
    if len(known) < 2:
        raise DataError(
            f"{len(known)} other boards cannot stand for a new one, at least 2 are needed",
            hint="measure a few designs: edgetran surrogate learn",
        )
    terms = _typical_terms()
    measures = {}
    for name in MEASURES:
        having = [
            (one.measures[name].model, sheet)
            for one, sheet in known
            if name in one.measures and _tells(name, sheet)
        ]
        if _tells(name, unit) and KINDS[name].is_sum and len(having) >= 2:
            measures[name] = _scaled(name, names, having, unit, terms)
    return Surrogate(names, (), 0, {}, measures)


def _scaled(
    name: str,
    names: tuple[str, ...],
    having: Sequence[tuple[CostModel, UnitModel]],
    unit: UnitModel,
    terms: np.ndarray,
) -> MeasureModel:
    model = _mean_board(name, names, having, unit, terms)
    errors = []
    for at, (one, sheet) in enumerate(having):
        blind = _mean_board(name, names, [*having[:at], *having[at + 1 :]], sheet, terms)
        errors.append(float(np.median(np.log(_smooth(one, terms) / _smooth(blind, terms)))))
    width = student_width(np.array(errors))
    return MeasureModel(
        model=model,
        half_width=width,
        error=float(np.abs(np.expm1(errors)).mean()),
        confidence=Confidence("low", "nothing is measured on this board"),
    )


def _mean_board(
    name: str,
    names: tuple[str, ...],
    having: Sequence[tuple[CostModel, UnitModel]],
    unit: UnitModel,
    terms: np.ndarray,
) -> CostModel:
    """The other boards, each as fast as this one by the datasheets; their mean by logarithms."""
    here = _sheet_costs(name, unit, names)
    scaled = []
    for model, sheet in having:
        there = _sheet_costs(name, sheet, names)
        ratio = float(np.exp(np.log(terms @ here / (terms @ there)).mean()))
        scaled.append((ratio * model.constant, ratio * model.costs))
    means = [float(np.log(np.maximum(one + terms @ costs, 1e-12)).mean()) for one, costs in scaled]
    level = float(np.exp(np.mean(means)))
    constant = float(np.mean([one / np.exp(mean) for (one, _), mean in zip(scaled, means)]))
    costs = np.mean([costs / np.exp(mean) for (_, costs), mean in zip(scaled, means)], axis=0)
    return CostModel(Effects(), level * max(0.0, constant), level * costs, least=1e-12)


def _tells(name: str, unit: UnitModel) -> bool:
    """A board that was calibrated without a power sensor tells no energy."""
    return name != "energy_j" or unit.active_w is not None


def _sheet_costs(name: str, unit: UnitModel, names: Sequence[str]) -> np.ndarray:
    watts = unit.active_w or 0.0 if name == "energy_j" else 1.0
    return watts * datasheet_source(unit, names).costs


def _smooth(model: CostModel, terms: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.maximum(model.constant + terms @ model.costs, model.least)
    return found


def _typical_terms() -> np.ndarray:
    """(n, k) of designs drawn from the published space."""
    drawn = sample(DesignSpace.flexibert2(), TYPICAL, np.random.default_rng(0))
    return np.array([list(architecture_terms(design).values()) for design in drawn])


def datasheet_source(unit: UnitModel, names: Sequence[str]) -> Source:
    """Seconds a term by the rates of a catalogue entry; products and traffic add up."""
    costs = []
    for name in names:
        cost = unit.launch_s * KERNELS.get(name, 0)
        if name.endswith("_flops"):
            cost += 1 / unit.fp32_flops
        elif name == "int8_ops":
            cost += 1 / unit.int8_ops
        elif name == "layer_parameters":
            cost += PARAMETER_BYTES / unit.bandwidth_bytes_s
        elif name in ("activation_values", "softmax_values", "unfolded_values"):
            cost += MOVES * PARAMETER_BYTES / unit.bandwidth_bytes_s
        elif name in ("weight_bytes", "elementwise_bytes"):
            cost += 1 / unit.bandwidth_bytes_s
        elif name == "kernel_launches":
            cost += unit.launch_s
        costs.append(cost)
    return Source(unit.overhead_s, np.array(costs))


def _sources(
    name: str, names: tuple[str, ...], others: Sequence[Surrogate], units: Sequence[UnitModel]
) -> list[Source]:
    """Of sums only: a peak elsewhere says nothing of the peak here."""
    if not KINDS[name].is_sum:
        return []
    models = [
        other.measures[name].model
        for other in others
        if other.names == names and name in other.measures
    ]
    found = [Source(0.0, model.costs) for model in models if model.costs.any()]
    return found + sheets(name, names, units)


def sheets(name: str, names: tuple[str, ...], units: Sequence[UnitModel]) -> list[Source]:
    """What each unit's datasheet says of a measure that is a sum; constants are a board's own."""
    if not KINDS[name].is_sum:
        return []
    return [Source(0.0, _sheet_costs(name, unit, names)) for unit in units if _tells(name, unit)]


def _fit(name: str, inputs: Inputs, values: np.ndarray, sources: Sequence[Source]) -> MeasureModel:
    everything = np.arange(len(values))
    foretold = np.empty(len(values))
    for held in everything:
        seen = everything != held
        model = fit_mixed(name, inputs.take(seen), values[seen], sources)
        foretold[held] = model.predict(inputs.take(everything == held))[0]
    return MeasureModel(
        model=fit_mixed(name, inputs, values, sources),
        half_width=half_width(foretold, values),
        error=float(np.abs(foretold / values - 1).mean()),
        confidence=confidence_of(len(values), float(clipped_errors(foretold, values).mean())),
    )


def fit_mixed(
    name: str, inputs: Inputs, values: np.ndarray, sources: Sequence[Source]
) -> CostModel:
    """A mixture of the sources, moved by the rows; of the rows alone where there is no source."""
    kind = KINDS[name]
    if not sources:
        return fit_cost_model(inputs, values, Effects(work=kind.is_sum), kind)
    ones = np.ones(len(values))
    columns = np.column_stack([ones, *(inputs.terms @ source.costs for source in sources)])
    weights = fit_costs(columns, values)
    mixed = np.sum([w * one.costs for w, one in zip(weights[1:], sources)], axis=0)
    costs = fit_near(np.column_stack([ones, inputs.terms]), values, np.array([weights[0], *mixed]))
    return CostModel(
        effects=Effects(),
        constant=float(costs[0]),
        costs=costs[1:],
        least=LOWEST_SHARE * float(values.min()),
    )


def fit_near(terms: np.ndarray, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """terms (n, k), values (n,) > 0, known costs (k,) -> costs (k,) >= 0 near the known ones."""
    scale = np.abs(terms / values[:, None]).mean(axis=0)
    scale[scale == 0] = 1.0
    shares, start = terms / (scale * values[:, None]), known * scale
    spread = MOVED * start + LEAST_MOVED
    costs, noise, weights = start, FIRST_NOISE, np.ones(len(values))
    for _ in range(ROUNDS):
        pull = noise / spread
        system = np.vstack([shares * weights[:, None], np.diag(pull)])
        costs, _ = nnls(system, np.concatenate([weights, pull * start]))
        errors = np.abs(shares @ costs - 1)
        noise = max(LEAST_NOISE, robust_sigma(errors))
        weights = np.sqrt(np.minimum(1.0, HUBER * noise / np.maximum(errors, 1e-12)))
    fitted: np.ndarray = costs / scale
    return fitted
