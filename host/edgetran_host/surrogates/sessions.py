"""Drift of a set-up from row to row: restarts, heat, a changed sensor; not a design's cost.

What a cost model leaves over is averaged over neighbours in time with weights
exp(-|distance| / reach) and shrunk by `prior` rows of zero; reach and prior are those that
foretell each row best from the others. `added` drift is in the measure's unit, `scaled` in
logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgetran_host.surrogates.robust import robust_sigma

REACHES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # rows
PRIORS = (0.0, 1.0, 3.0)
OUTLIER_SIGMAS = 4.0
LEAST_SHARE = 0.05  # of a value that drift leaves: nothing costs less than nothing


@dataclass(frozen=True)
class Drift:
    """Offsets known at `times` (sorted), averaged in between."""

    kind: str  # "added" or "scaled"
    times: np.ndarray  # (m,)
    offsets: np.ndarray  # (m,) what was left over there
    weights: np.ndarray  # (m,)
    reach: float
    prior: float

    def at(self, times: np.ndarray) -> np.ndarray:
        """(n,) offsets; zero where the time is NaN: not known."""
        known = np.isfinite(times)
        distance = np.abs(np.where(known, times, 0.0)[:, None] - self.times[None])
        near = np.exp(-distance / self.reach) * self.weights[None]
        total = near.sum(axis=1) + self.prior
        mean: np.ndarray = near @ self.offsets / np.maximum(total, 1e-9)
        mean[~known | (total <= 1e-9)] = 0.0
        return mean

    def apply(self, values: np.ndarray, times: np.ndarray) -> np.ndarray:
        return _moved(self.kind, values, self.at(times))

    def remove(self, values: np.ndarray, times: np.ndarray) -> np.ndarray:
        return _moved(self.kind, values, -self.at(times))


def _moved(kind: str, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    moved: np.ndarray
    if kind == "scaled":
        moved = values * np.exp(offsets)
    else:
        moved = np.maximum(values + offsets, LEAST_SHARE * values)
    return moved


def find_drift(
    kind: str, times: np.ndarray, values: np.ndarray, fitted: np.ndarray
) -> Drift | None:
    """From values (n,) and what the costs explain of them; None without times."""
    known = np.flatnonzero(np.isfinite(times))
    if len(known) < 2:
        return None
    known = known[np.argsort(times[known], kind="stable")]
    times, values, fitted = times[known], values[known], np.maximum(fitted[known], 1e-12)
    if kind == "scaled":
        left, size = np.log(values / fitted), np.ones(len(known))
    else:
        left, size = values - fitted, values
    limit = OUTLIER_SIGMAS * robust_sigma(left / size) * size
    left = np.clip(left, -limit, limit)
    weights = 1 / size**2
    weights = weights / weights.mean()
    best = None
    for reach in REACHES:
        top, bottom = _others(times, left, weights, reach)
        for prior in PRIORS:
            foretold = top / np.maximum(bottom + prior, 1e-9)
            error = float((np.abs(left - foretold) / size).sum())
            if best is None or error < best[0]:
                best = (error, reach, prior)
    assert best is not None
    return Drift(kind, times, left, weights, best[1], best[2])


def _others(
    times: np.ndarray, left: np.ndarray, weights: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each row, the weighted sum and the weight of all others, in one pass either way."""
    fades = np.exp(-np.diff(times) / reach).tolist()
    both = [
        _carried(fades[::way], (weights * left)[::way].tolist(), weights[::way].tolist())[:, ::way]
        for way in (1, -1)
    ]
    top, bottom = both[0] + both[1]
    return top, bottom


def _carried(fades: list[float], tops: list[float], bottoms: list[float]) -> np.ndarray:
    """(2, n) sums over the rows before each, faded a step at a time."""
    top = bottom = 0.0
    found = [(0.0, 0.0)]
    for fade, more_top, more_bottom in zip(fades, tops, bottoms):
        top, bottom = fade * (top + more_top), fade * (bottom + more_bottom)
        found.append((top, bottom))
    return np.array(found).T
