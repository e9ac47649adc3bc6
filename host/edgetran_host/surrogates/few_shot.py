"""A new board from at most a dozen or so rows: other boards' costs and the datasheet help.

Cost vectors are sums, so a mixture of boards is a board again:

    costs = a own + (1 - a) sum_b w_b costs_b,   w_b >= 0

`own` is fitted to the rows alone, w on the predictions of the other boards' surrogates and of
the datasheet's roofline (taken as a sum), a is what foretells each row best from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgetran_devices import UnitModel
from edgetran_protos.errors import DataError

from edgetran_host.space.architecture import HEAD_KINDS
from edgetran_host.surrogates.campaigns import campaigns_of
from edgetran_host.surrogates.cost_model import (
    LOWEST_SHARE,
    CostModel,
    Effects,
    Inputs,
    fit_cost_model,
)
from edgetran_host.surrogates.intervals import half_width
from edgetran_host.surrogates.robust import fit_costs
from edgetran_host.surrogates.rows import MEASURES, Rows
from edgetran_host.surrogates.selection import clipped_errors
from edgetran_host.surrogates.surrogate import KINDS, MeasureModel, Surrogate, confidence_of
from edgetran_host.surrogates.terms import PARAMETER_BYTES

LEAST_ROWS = 3
OWN_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOVES = 2  # an activation is written and read
KERNELS = {"matrices": 2, "layers": 12, **{f"{kind}_heads": 4 for kind in HEAD_KINDS}}


@dataclass(frozen=True)
class Source:
    """What one design costs elsewhere: a constant and costs of terms."""

    constant: float
    costs: np.ndarray  # (k,)


def fit_few(rows: Rows, others: Sequence[Surrogate], unit: UnitModel | None = None) -> Surrogate:
    """A surrogate of the rows' board. Raises DataError for too few rows."""
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
            sources = _sources(name, rows.names, others, unit)
            measures[name] = _fit(name, inputs.take(known), rows.measures[name][known], sources)
    return Surrogate(rows.names, campaigns_of(rows), len(rows), dict(rows.setting), measures)


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
    name: str, names: tuple[str, ...], others: Sequence[Surrogate], unit: UnitModel | None
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
    if unit:
        sheet = datasheet_source(unit, names)
        watts = unit.active_w if name == "energy_j" else 1.0
        found.append(Source(0.0, watts * sheet.costs))
    return found


def _fit(name: str, inputs: Inputs, values: np.ndarray, sources: Sequence[Source]) -> MeasureModel:
    everything = np.arange(len(values))
    foretold = {share: np.empty(len(values)) for share in OWN_SHARES}
    for held in everything:
        seen = everything != held
        own, mixed = _both(name, inputs.take(seen), values[seen], sources)
        for share in OWN_SHARES:
            model = _between(own, mixed, share)
            foretold[share][held] = model.predict(inputs.take(everything == held))[0]
    errors = {
        share: float(clipped_errors(found, values).mean()) for share, found in foretold.items()
    }
    share = min(errors, key=errors.__getitem__)
    own, mixed = _both(name, inputs, values, sources)
    return MeasureModel(
        model=_between(own, mixed, share),
        half_width=half_width(foretold[share], values),
        error=float(np.abs(foretold[share] / values - 1).mean()),
        confidence=confidence_of(len(values), errors[share]),
    )


def _both(
    name: str, inputs: Inputs, values: np.ndarray, sources: Sequence[Source]
) -> tuple[CostModel, CostModel]:
    """Of the rows alone, and mixed of the sources."""
    kind = KINDS[name]
    own = fit_cost_model(inputs, values, Effects(work=kind.is_sum), kind)
    if not sources:
        return own, own
    ones = np.ones(len(values))
    columns = np.column_stack([ones, *(inputs.terms @ source.costs for source in sources)])
    weights = fit_costs(columns, values)
    mixed = CostModel(
        effects=Effects(),
        constant=float(weights[0]),
        costs=np.sum([w * one.costs for w, one in zip(weights[1:], sources)], axis=0),
        least=LOWEST_SHARE * float(values.min()),
    )
    return own, mixed


def _between(own: CostModel, mixed: CostModel, share: float) -> CostModel:
    return replace(
        own,
        constant=share * own.constant + (1 - share) * mixed.constant,
        costs=share * own.costs + (1 - share) * mixed.costs,
    )
