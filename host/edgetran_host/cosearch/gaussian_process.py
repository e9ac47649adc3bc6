"""An exact Gaussian process of one output, by scikit-learn's regressor with our kernel.

scikit-learn gives Cholesky, marginal likelihood with gradients and posterior at no further
dependency, and takes priors through its optimiser's hook; GPyTorch and BoTorch would add
seven packages, and time of start-up, for the same exact inference. Ours are the kernel
(`pair_kernel`), and noise by row: a row that the others contradict, leaving it out, counts
less, and when rows lie farther from what the others foretell than they should, all
deviations widen.
Leaving out row i: residual a_i / Q_ii with variance 1 / Q_ii, Q = (K + noise)^-1, a = Q y.
Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), 5.4.2.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from edgetran_host.cosearch.pair_kernel import PairKernel

JITTER = 1e-8
LEAST_VARIANCE = 1e-10  # rounding makes smaller ones of known rows
MOST_ROWS = 160  # to learn scales on; the posterior has all
MOST_STEPS = 40
OUTLIER = 2.5  # deviations, leaving out
MOST_WIDENING = 2.0
NORMAL_MEDIAN = 0.6745  # of the absolute value of a standard normal

Likelihood = Callable[..., tuple[float, np.ndarray]]


class GaussianProcess:
    """y = f(x) + noise, y scaled to unit variance within."""

    def __init__(self, kernel: PairKernel, theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        self._centre, self._spread = _scale(y)
        self._kernel = kernel.clone_with_theta(theta)
        self._noise = float(np.exp(theta[0]))
        scaled = (y - self._centre) / self._spread
        first = _regressor(self._kernel, np.full(len(y), JITTER)).fit(x, scaled)
        residuals, deviations = _leaving_out(first)
        strange = np.abs(residuals / deviations) / OUTLIER
        extra = self._noise * np.maximum(strange**2 - 1, 0)
        self.noise = (self._noise + extra) * self._spread**2  # (n,) variances
        self._process = _regressor(self._kernel, JITTER + extra).fit(x, scaled)
        self._rows, self._pulls = x, self._process.alpha_
        self._unmix = _inverse(self._process.L_)  # L^-1
        residuals, deviations = _leaving_out(self._process)
        ratio = float(np.median(np.abs(residuals / deviations))) / NORMAL_MEDIAN
        self.widening = min(max(ratio, 1.0), MOST_WIDENING) if len(y) > 5 else 1.0

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (n, k) -> means and standard deviations (n,) of f.

        The regressor's own would check its input anew, which takes longer than a small answer.
        """
        likeness = self._kernel(x, self._rows)  # (n, m)
        mean = likeness @ self._pulls
        known = ((likeness @ self._unmix.T) ** 2).sum(axis=1)
        deviation = np.sqrt(np.maximum(self._kernel.diag(x) - known, LEAST_VARIANCE))
        return mean * self._spread + self._centre, deviation * self._spread * self.widening

    def draw_off(self, x: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """x (n, k), normal (s, n) -> (s, n) how far f is off its mean, at all rows together."""
        known = self._kernel(x, self._rows) @ self._unmix.T
        variances, axes = np.linalg.eigh(self._kernel(x, x) - known @ known.T)
        mixed: np.ndarray = (normal * np.sqrt(np.maximum(variances, 0))) @ axes.T
        return mixed * self._spread * self.widening


def learn_scales(kernel: PairKernel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The likeliest `theta` given its priors."""
    if len(y) > MOST_ROWS:
        chosen = np.linspace(0, len(y) - 1, MOST_ROWS).astype(int)
        x, y = x[chosen], y[chosen]
    centre, spread = _scale(y)
    start = kernel.clone_with_theta(kernel.start())
    regressor = _regressor(start, np.full(len(y), JITTER), _with_priors(kernel))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound is an answer
        theta: np.ndarray = regressor.fit(x, (y - centre) / spread).kernel_.theta
    return theta


def _with_priors(kernel: PairKernel) -> Callable[..., tuple[np.ndarray, float]]:
    """scikit-learn's hook: (negative likelihood, start, bounds) -> (theta, value)."""
    means = np.array([mean for mean, _, _ in kernel.priors])
    deviations = np.array([deviation for _, deviation, _ in kernel.priors])

    def optimise(
        likelihood: Likelihood, start: np.ndarray, bounds: np.ndarray
    ) -> tuple[np.ndarray, float]:
        def posterior(theta: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = likelihood(theta)
            off = (theta - means) / deviations
            return value + 0.5 * float(off @ off), gradient + off / deviations

        found = minimize(
            posterior,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": MOST_STEPS},
        )
        return found.x, float(found.fun)

    return optimise


def _regressor(
    kernel: PairKernel, noise: np.ndarray, optimiser: object = None
) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(kernel, alpha=noise, optimizer=optimiser, copy_X_train=False)


def _leaving_out(process: GaussianProcessRegressor) -> tuple[np.ndarray, np.ndarray]:
    """(n,) what each row is off, and how much it was expected to be, by the others alone."""
    precision = (_inverse(process.L_) ** 2).sum(axis=0)
    return process.alpha_ / precision, 1 / np.sqrt(precision)


def _inverse(lower: np.ndarray) -> np.ndarray:
    found: np.ndarray = solve_triangular(lower, np.eye(len(lower)), lower=True)
    return found


def _scale(y: np.ndarray) -> tuple[float, float]:
    spread = float(y.std())
    return float(y.mean()), spread if spread > 1e-12 else 1.0
