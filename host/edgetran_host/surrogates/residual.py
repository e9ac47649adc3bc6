"""What the costs leave over, as a Gaussian process on the logarithm of the terms.

log(y / costs) = m + g(z) + noise, g with a Matern-5/2 kernel of one length scale on
standardised z = log(1 + terms). Far from all rows g is zero, and the costs alone speak.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from edgetran_host.surrogates.robust import robust_sigma

MOST_ROWS = 300  # of the training rows, evenly taken; more add time, not accuracy
OUTLIER_SIGMAS = 4.0


@dataclass(frozen=True)
class Residual:
    centre: np.ndarray  # (k,) of log(1 + terms)
    spread: np.ndarray  # (k,)
    rows: np.ndarray  # (m, k) standardised
    pulls: np.ndarray  # (m,) what each row adds, by its kernel
    mean: float
    length: float

    def at(self, terms: np.ndarray) -> np.ndarray:
        """terms (n, k) -> (n,) logarithms to add."""
        z = (np.log1p(terms) - self.centre) / self.spread
        distance = np.sqrt(((z[:, None] - self.rows[None]) ** 2).sum(axis=2)) / self.length
        root = np.sqrt(5.0) * distance
        kernel = (1 + root + root**2 / 3) * np.exp(-root)
        added: np.ndarray = self.mean + kernel @ self.pulls
        return added


def fit_residual(terms: np.ndarray, left: np.ndarray) -> Residual:
    """terms (n, k), left (n,) logarithms."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    if len(left) > MOST_ROWS:
        chosen = np.linspace(0, len(left) - 1, MOST_ROWS).astype(int)
        terms, left = terms[chosen], left[chosen]
    middle = float(np.median(left))
    limit = OUTLIER_SIGMAS * max(1e-4, robust_sigma(left - middle))
    left = np.clip(left, middle - limit, middle + limit)
    z = np.log1p(terms)
    centre, spread = z.mean(axis=0), z.std(axis=0)
    spread[spread == 0] = 1.0
    z, mean = (z - centre) / spread, float(left.mean())
    variance = max(float(left.var()), 1e-10)
    kernel = ConstantKernel(variance / 2, (variance * 1e-3, variance * 4)) * Matern(
        5.0, (1.0, 100.0), nu=2.5
    ) + WhiteKernel(variance / 2, (variance * 0.02, variance * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound is an answer
        found = GaussianProcessRegressor(kernel).fit(z, left - mean)
    smooth = found.kernel_.k1
    pulls = smooth.k1.constant_value * found.alpha_
    return Residual(centre, spread, z, pulls, mean, float(smooth.k2.length_scale))
