"""One measure of one board as a sum of non-negative costs, with the effects a board shows.

    y = round_up(drift(c0 + sum_k c_k x_k + c_m max(0, memory - m0))) * exp(residual)

x are the terms of a design, c their costs. Every effect is off unless cross-validation
(`selection`) asks for it: a polling loop, a memory cliff, drift of the set-up, a residual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.surrogates.polling import Polling, find_polling
from edgetran_host.surrogates.residual import Residual, fit_residual
from edgetran_host.surrogates.robust import fit_costs
from edgetran_host.surrogates.sessions import Drift, find_drift

BACKFITS = 4  # rounds of costs and drift in turn
CLIFF_SHARES = np.linspace(0.1, 0.9, 17)  # of the rows, below which a cliff is looked for
LOWEST_SHARE = 0.5  # of the least measured value: no design is foretold to cost less


@dataclass(frozen=True)
class MeasureKind:
    """What is known of a measure before any row is seen."""

    is_sum: bool  # grows with work; a peak need not
    may_lack: bool = False  # a last sample is missing: the constant may be negative
    is_polled: bool = False  # a time that a measuring loop may have rounded up


@dataclass(frozen=True)
class Effects:
    """What a model may use beyond its constant."""

    work: bool = True  # the terms
    polled: bool = False
    cliff: bool = False
    drift: str = ""  # "added" or "scaled"
    residual: bool = False

    def names(self) -> tuple[str, ...]:
        """In words, for a reader."""
        found = {
            "costs of work": self.work,
            "polling step": self.polled,
            "memory cliff": self.cliff,
            f"drift ({self.drift})": bool(self.drift),
            "residual process": self.residual,
        }
        return tuple(name for name, used in found.items() if used)


@dataclass(frozen=True)
class Inputs:
    """What a model sees of n designs."""

    terms: np.ndarray  # (n, k)
    memory: np.ndarray  # (n,) bytes
    times: np.ndarray  # (n,) place on the axis of campaigns; NaN: not known

    def take(self, index: np.ndarray) -> Inputs:
        return Inputs(self.terms[index], self.memory[index], self.times[index])


@dataclass(frozen=True)
class CostModel:
    effects: Effects
    constant: float
    costs: np.ndarray  # (k,)
    least: float  # no prediction is below
    most: float | None = None  # nor above; None: a sum has no bound
    cliff_bytes: float = 0.0
    cliff_cost: float = 0.0  # a byte above
    polling: Polling | None = None
    drift: Drift | None = None
    residual: Residual | None = None

    def work_part(self, inputs: Inputs) -> np.ndarray:
        """(n,) what the terms cost, without the constant."""
        above = np.maximum(0.0, inputs.memory - self.cliff_bytes)
        part: np.ndarray = inputs.terms @ self.costs + self.cliff_cost * above
        return part

    def smooth(self, inputs: Inputs) -> np.ndarray:
        """(n,) before a polling loop rounds it up."""
        found = np.maximum(self.constant + self.work_part(inputs), self.least)
        if self.drift:
            found = self.drift.apply(found, inputs.times)
        if self.residual:
            found = found * np.exp(self.residual.at(inputs.terms))
        if self.most is not None:
            found = np.clip(found, self.least, self.most)
        return found

    def predict(self, inputs: Inputs) -> np.ndarray:
        """(n,) in the measure's unit."""
        found = self.smooth(inputs)
        return self.polling.round_up(found) if self.polling else found


def fit_cost_model(
    inputs: Inputs, values: np.ndarray, effects: Effects, kind: MeasureKind
) -> CostModel:
    """values (n,) > 0."""
    signed = kind.may_lack
    polling = find_polling(values) if effects.polled else None
    # the noise of measured peaks spreads them further than designs do: none is foretold beyond
    least = (LOWEST_SHARE if kind.is_sum else 1.0) * float(values.min())
    most = None if kind.is_sum else float(values.max())
    if not effects.work:
        inputs_used = np.zeros((len(values), 0))
    else:
        inputs_used = inputs.terms
    step = polling.step if polling else 0.0
    at = _find_cliff(inputs_used, inputs.memory, values, step, signed) if effects.cliff else None
    drift: Drift | None = None
    bare = values
    for _ in range(BACKFITS):
        model = _fit_once(inputs_used, inputs, bare, step, signed, at, effects, least)
        if not effects.drift:
            break
        explained = np.maximum(model.constant + model.work_part(inputs), least) + step / 2
        drift = find_drift(effects.drift, inputs.times, values, explained)
        if drift is None:
            break
        bare = drift.remove(values, inputs.times)
    model = replace(model, drift=drift, polling=polling, most=most)
    if effects.residual:
        left = np.log(values / (model.smooth(inputs) + step / 2))
        model = replace(model, residual=fit_residual(inputs.terms, left))
    return model


def _fit_once(
    terms: np.ndarray,
    inputs: Inputs,
    values: np.ndarray,
    step: float,
    signed: bool,
    cliff_at: float | None,
    effects: Effects,
    least: float,
) -> CostModel:
    costs = fit_costs(
        _columns(terms, inputs.memory, cliff_at),
        values,
        signed=0 if signed else None,
        step=step,
    )
    work = costs[1 : 1 + terms.shape[1]] if effects.work else np.zeros(inputs.terms.shape[1])
    return CostModel(
        effects=effects,
        constant=float(costs[0]),
        costs=work,
        least=least,
        cliff_bytes=cliff_at or 0.0,
        cliff_cost=0.0 if cliff_at is None else float(costs[-1]),
    )


def _columns(terms: np.ndarray, memory: np.ndarray, cliff_at: float | None) -> np.ndarray:
    columns = [np.ones(len(terms)), *terms.T]
    if cliff_at is not None:
        columns.append(np.maximum(0.0, memory - cliff_at))
    return np.column_stack(columns)


def _find_cliff(
    terms: np.ndarray, memory: np.ndarray, values: np.ndarray, step: float, signed: bool
) -> float:
    """Where a bend in memory explains most."""
    errors = {}
    for place in np.quantile(memory, CLIFF_SHARES):
        columns = _columns(terms, memory, float(place))
        costs = fit_costs(columns, values, signed=0 if signed else None, step=step)
        errors[float(place)] = float(np.abs((columns @ costs + step / 2) / values - 1).mean())
    return min(errors, key=errors.__getitem__)
