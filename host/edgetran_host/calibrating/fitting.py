"""The coefficients of the catalogue's cost model from measured graphs.

    t = t0 + k tk + F / Rf + Q / Rq + W / B + A / Ba      E = P t + e (F + Q)

Symbols as in `edgetran_devices.cost`, Ba the bandwidth of passes over activations. All costs
are at least zero and fitted on relative errors, blind to a few odd graphs (`robust`). Intervals
hold 90 % of graphs that the fit has not seen: leave-one-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgetran_devices import UnitModel, predict
from edgetran_protos.bundle import Work
from edgetran_protos.errors import DataError

from edgetran_host.surrogates.intervals import half_width
from edgetran_host.surrogates.robust import fit_costs

LEAST_GRAPHS = 8  # six costs, and two to see an error by
FASTEST = 1e16  # a rate that no graph showed a limit of


@dataclass(frozen=True)
class Measured:
    """One graph on the board; None: no sensor told."""

    name: str
    work: Work
    latency_s: float
    p95_s: float
    p99_s: float
    energy_j: float | None
    peak_power_w: float | None
    idle_power_w: float | None


@dataclass(frozen=True)
class Fit:
    """A unit's coefficients, and what each graph would have been foretold without itself."""

    unit: UnitModel
    latency_s: tuple[float, ...]  # leave-one-out, in the order of the graphs

    @property
    def has_energy(self) -> bool:
        return self.unit.active_w is not None


def fit_unit(name: str, runtimes: tuple[str, ...], rows: Sequence[Measured], source: str) -> Fit:
    """Raises DataError for too few graphs."""
    if len(rows) < LEAST_GRAPHS:
        raise DataError(
            f"{len(rows)} graphs are too few, at least {LEAST_GRAPHS} are needed",
            hint="see which ones failed, and why",
        )
    terms, times_s = _terms(rows), np.array([row.latency_s for row in rows])
    without = np.zeros(len(rows))
    for at in range(len(rows)):
        seen = np.arange(len(rows)) != at
        without[at] = terms[at] @ fit_costs(terms[seen], times_s[seen])
    overhead_s, launch_s, flop_s, int8_s, weight_s, activation_s = map(
        float, fit_costs(terms, times_s)
    )
    unit = UnitModel(
        name=name,
        runtimes=runtimes,
        fp32_flops=_rate(flop_s),
        int8_ops=_rate(int8_s or flop_s),  # none was measured: as floats
        bandwidth_bytes_s=_rate(weight_s),
        launch_s=launch_s,
        overhead_s=overhead_s,
        idle_w=None,
        active_w=None,
        peak_w=None,
        p95_ratio=_ratio([row.p95_s / row.latency_s for row in rows]),
        p99_ratio=_ratio([row.p99_s / row.latency_s for row in rows]),
        relative_error=_error(without, times_s),
        source=source,
        activation_bytes_s=_rate(activation_s),
        adds_up=True,
        measured={"graphs": len(rows)},
    )
    foretold_s = tuple(float(one) for one in without)
    return Fit(_with_power(unit, rows, foretold_s), foretold_s)


def errors(unit: UnitModel, rows: Sequence[Measured]) -> list[float]:
    """Of a unit's latencies, signed shares."""
    return [predict(unit, row.work).latency_s / row.latency_s - 1 for row in rows]


def _terms(rows: Sequence[Measured]) -> np.ndarray:
    """(graphs, costs)."""
    return np.array(
        [
            (
                *(1.0, work.kernel_launches, work.matmul_flops, work.int8_ops),
                *(work.weight_bytes, work.elementwise_bytes),
            )
            for work in (row.work for row in rows)
        ]
    )


def _with_power(
    unit: UnitModel, rows: Sequence[Measured], foretold_s: Sequence[float]
) -> UnitModel:
    """foretold_s: leave-one-out latencies, from which energies are foretold too.

    A graph too short for the sensor tells no energy; too few that do, and the unit has none.
    """
    told = [(row, time_s) for row, time_s in zip(rows, foretold_s) if row.energy_j is not None]
    if len(told) < LEAST_GRAPHS:
        return unit
    energies = np.array([row.energy_j for row, _ in told], float)
    times_s = np.array([row.latency_s for row, _ in told])
    operations = np.array([row.work.matmul_flops + row.work.int8_ops for row, _ in told])
    idle_w = _median([row.idle_power_w for row, _ in told])
    without = np.zeros(len(told))
    for at, (_, time_s) in enumerate(told):
        seen = np.arange(len(told)) != at
        costs = _fit_power(times_s[seen], operations[seen], energies[seen], idle_w)
        without[at] = costs[0] * time_s + costs[1] * operations[at]
    active_w, operation_j = _fit_power(times_s, operations, energies, idle_w)
    peaks = [row.peak_power_w for row, _ in told]
    typical_w = _median(peaks)
    peak_w = max(active_w, typical_w if typical_w is not None else float(max(energies / times_s)))
    known = np.array([peak for peak in peaks if peak is not None])
    return replace(
        unit,
        idle_w=active_w if idle_w is None else min(active_w, idle_w),
        active_w=active_w,
        operation_j=operation_j,
        peak_w=peak_w,
        energy_error=_error(without, energies),
        peak_error=_error(np.full(len(known), peak_w), known) if len(known) else None,
    )


def _fit_power(
    times_s: np.ndarray, operations: np.ndarray, energies: np.ndarray, idle_w: float | None
) -> tuple[float, float]:
    """Watts while it computes, at least idle; joules an operation beyond that."""
    costs = fit_costs(np.column_stack([times_s, operations]), energies)
    active_w, operation_j = float(costs[0]), float(costs[1])
    if idle_w is not None and active_w < idle_w:
        computes = operations > 0
        over = (energies - idle_w * times_s)[computes] / operations[computes]
        return idle_w, max(0.0, float(np.median(over)))
    return active_w, operation_j


def _error(foretold: np.ndarray, values: np.ndarray) -> float:
    """Half of the 90 % interval, as a factor less one."""
    return float(np.expm1(half_width(np.maximum(foretold, 1e-12), values)))


def _rate(cost_s: float) -> float:
    return 1 / cost_s if cost_s > 1 / FASTEST else FASTEST


def _ratio(ratios: Sequence[float]) -> float:
    return max(1.0, float(np.median(ratios)))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
