"""Costs that are never negative, fitted on relative errors, blind to a few wrong rows.

Minimises sum_i huber((a_i c - z_i) / z_i) + ridge * |shares|^2 over c >= 0 by iteratively
re-weighted non-negative least squares (Lawson and Hanson's, of SciPy). a_i are the terms of
row i, a share is what a term adds to the mean row. Where values were rounded up to a polling
step s, z_i is the mean of a normal error cut to (y_i - s, y_i]: interval-censored
regression by expectation and maximisation.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtr

ROUNDS = 15
SETTLED = 1e-7  # of a share: later rounds change nothing
HUBER = 1.345  # robust sigmas: 95 % efficient on normal errors
MAD_SIGMA = 1.4826  # median absolute deviation -> sigma, normal errors
SMALLEST_SIGMA = 1e-3
FIRST_NOISE = 0.05
SHARE_SPREAD = 0.15  # of the mean row: what one term may plausibly add


def fit_costs(
    terms: np.ndarray, values: np.ndarray, *, signed: int | None = None, step: float = 0.0
) -> np.ndarray:
    """terms (n, k), values (n,) > 0 -> costs (k,) >= 0; that of column `signed` may be negative."""
    scale = np.abs(terms / values[:, None]).mean(axis=0)
    scale[scale == 0] = 1.0
    shares = terms / scale
    if signed is not None:
        shares = np.column_stack([shares, -shares[:, signed]])
    wanted = np.concatenate([np.ones(len(values)), np.zeros(shares.shape[1])])
    aims, weights = values - step / 2, np.ones(len(values))
    costs, noise = np.zeros(shares.shape[1]), FIRST_NOISE
    for _ in range(ROUNDS):
        ridge = noise / SHARE_SPREAD * np.eye(shares.shape[1])
        system = np.vstack([shares / aims[:, None] * weights[:, None], ridge])
        wanted[: len(values)] = weights
        before = costs
        costs, _ = nnls(system, wanted, maxiter=50 * system.shape[1])
        if np.abs(costs - before).max() < SETTLED:
            break
        found = shares @ costs
        if step:
            sigma = max(SMALLEST_SIGMA, robust_sigma(found / aims - 1))
            aims = _cut_mean(found, sigma * np.abs(found), values - step, values)
            aims = np.maximum(aims, values * 1e-2)
        errors = np.abs(found / aims - 1)
        noise = max(SMALLEST_SIGMA, robust_sigma(errors))
        limit = HUBER * noise
        weights = np.sqrt(np.minimum(1.0, limit / np.maximum(errors, 1e-12)))
    if signed is not None:
        costs[signed] -= costs[-1]
        costs = costs[:-1]
    fitted: np.ndarray = costs / scale
    return fitted


def robust_sigma(errors: np.ndarray) -> float:
    return float(MAD_SIGMA * np.median(np.abs(errors)))


def _cut_mean(mean: np.ndarray, sigma: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean of a normal variable known to lie between low and high; all (n,)."""
    sigma = np.maximum(sigma, 1e-12)
    a, b = np.clip((low - mean) / sigma, -6, 6), np.clip((high - mean) / sigma, -6, 6)
    mass = ndtr(b) - ndtr(a)
    heights = (np.exp(-(a**2) / 2) - np.exp(-(b**2) / 2)) / np.sqrt(2 * np.pi)
    inside = mean + sigma * heights / np.maximum(mass, 1e-12)
    return np.clip(np.where(mass > 1e-6, inside, mean), low, high)
