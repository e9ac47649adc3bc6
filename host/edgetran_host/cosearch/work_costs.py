"""What pairs cost by the work they do: one hierarchy of sums for all places of a search.

    y / y_ref = sum over k of c_pk x_k        c_pk >= 0, x_0 = 1, x_k work of the design

c_pk of place p lie near shared c_k, and those near shares of the middle cost that are likely
of any board: most of it operations, by their number, and weights. All are found at once by
non-negative least squares on relative errors, with Huber's weights; how far a foretold cost
may be off comes from the same equations without their signs. So a few trials on each of a few
boards say much about all of them, a cost goes on beyond what was tried, and a place never
tried costs what the shared sums say.
Symbols: n trials, K terms with the constant, P places, S = (P + 1) K unknowns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

SHARED_SPREAD = 1.0  # of c_k, in middle costs times (its likely share + LEAST_SHARE)
PLACE_SPREAD = 1.0  # of c_pk about c_k, alike
LEAST_SHARE = 0.05  # so that what is unlikely can show
NOISE = 0.1  # relative deviation of one measurement, as so many trials would say it
NOISE_TRIALS = 10
LEAST_NOISE = 0.02
HUBER = 1.5  # noises; trials farther off count less
ROUNDS = 3
LOWEST_SHARE = 0.5  # of the least that was seen: nothing is foretold to cost less
NORMAL_MEDIAN = 0.6745  # of the absolute value of a standard normal
LEAST_DEVIATION, MOST_DEVIATION = 0.02, 1.0  # of a foretold logarithm


@dataclass(frozen=True)
class WorkCosts:
    """One cost, by its share of the reference's."""

    costs: np.ndarray  # (P + 1, K); the last: shared
    covariance: np.ndarray  # (P + 1, K, K) of each
    places: tuple[int, ...]  # numbers of the P places
    lowest: float

    def foretell(self, work: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """work (n, K), numbers (n,) of places -> means and deviations (n,) of ln(y / y_ref)."""
        row = {number: at for at, number in enumerate(self.places)}
        at = np.array([row.get(int(number), len(row)) for number in numbers], dtype=int)
        mean = np.maximum((work * self.costs[at]).sum(axis=1), self.lowest)
        variance = np.empty(len(work))
        for one in set(at):
            here = at == one
            variance[here] = ((work[here] @ self.covariance[one]) * work[here]).sum(axis=1)
        deviation = np.sqrt(np.maximum(variance, 0)) / mean
        return np.log(mean), np.clip(deviation, LEAST_DEVIATION, MOST_DEVIATION)


def fit_work_costs(
    work: np.ndarray, numbers: np.ndarray, shares: np.ndarray, likely: np.ndarray
) -> WorkCosts:
    """work (n, K), numbers (n,) of places, shares (n,) > 0 of one cost; n >= 1.

    likely (K,): of a mean design's cost, before any trial; they add up to 1.
    """
    places = tuple(sorted({int(number) for number in numbers}))
    count = work.shape[1]
    rows = _spread_out(work / shares[:, None], [places.index(int(one)) for one in numbers], places)
    typical = float(np.median(shares))
    units = typical * (likely + LEAST_SHARE)
    prior = _prior(len(places), units)
    wanted = np.zeros(len(prior))
    wanted[-count:] = float(np.median(shares / (work @ likely))) * likely / (SHARED_SPREAD * units)
    noise, weights = NOISE, np.ones(len(rows))
    for _ in range(ROUNDS):
        scaled = rows * (weights / noise)[:, None]
        gram = scaled.T @ scaled + prior.T @ prior
        root = np.linalg.cholesky(gram)  # gram = root root'
        target = scaled.T @ (weights / noise) + prior.T @ wanted
        whitened = solve_triangular(root, target, lower=True)
        costs, _ = nnls(root.T, whitened, maxiter=30 * len(gram))
        inverse = solve_triangular(root, np.eye(len(root)), lower=True)
        covariance = inverse.T @ inverse
        errors = np.abs(rows @ costs - 1)
        leverage = ((scaled @ inverse.T) ** 2).sum(axis=1)
        noise = _noise(errors / np.sqrt(np.maximum(1 - leverage, 0.1)))
        weights = np.sqrt(np.minimum(1.0, HUBER * noise / np.maximum(errors, 1e-12)))
    return WorkCosts(
        costs.reshape(-1, count),
        _of_each(covariance, len(places), units),
        places,
        LOWEST_SHARE * float(shares.min()),
    )


def _spread_out(shares: np.ndarray, at: list[int], places: tuple[int, ...]) -> np.ndarray:
    """(n, S) each row in the columns of its place."""
    count = shares.shape[1]
    found = np.zeros((len(shares), len(places) + 1, count))
    found[np.arange(len(shares)), at] = shares
    return found.reshape(len(shares), -1)


def _prior(places: int, units: np.ndarray) -> np.ndarray:
    """(S, S): places' costs near the shared ones, and those near what is wanted of them."""
    count, each = len(units), np.diag(1 / units)
    near = np.hstack([np.kron(np.eye(places), each), np.tile(-each, (places, 1))])
    own = np.hstack([np.zeros((count, places * count)), each])
    return np.vstack([near / PLACE_SPREAD, own / SHARED_SPREAD])


def _noise(errors: np.ndarray) -> float:
    seen = float(np.median(errors)) / NORMAL_MEDIAN
    pooled = (NOISE_TRIALS * NOISE**2 + len(errors) * seen**2) / (NOISE_TRIALS + len(errors))
    return max(LEAST_NOISE, float(np.sqrt(pooled)))


def _of_each(covariance: np.ndarray, places: int, units: np.ndarray) -> np.ndarray:
    """(P + 1, K, K); a place never tried lies about the shared costs."""
    count = len(units)
    blocks = covariance.reshape(places + 1, count, places + 1, count)
    found: np.ndarray = np.array([blocks[at, :, at] for at in range(places + 1)])
    found[-1] += np.diag((PLACE_SPREAD * units) ** 2)
    return found
