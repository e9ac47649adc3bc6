"""Which design to measure next: the one that makes all candidates surest.

Relative errors of a cost model are a Gaussian process before anything is measured:

    y / y' - 1 ~ N(0, K),   K = SHARE_SPREAD^2 S S' + bend^2 M(z),   rows add noise^2

S (m, k) are the shares that a term has of a candidate's cost y', so that S S' is what unknown
costs do (Bayesian regression with the ridge of `surrogates.robust`); M is a Matern-5/2 kernel on
standardised logarithms of the terms, what is no sum of costs. Measuring candidate j lowers the
mean variance of the candidates by

    gain_j = mean_i K_ij|seen ^ 2 / (K_jj|seen + noise^2)

(Cohn, Ghahramani, Jordan, 1996). It needs no measured value, only y', so the first designs are
chosen by a guess of y'. Of designs that gain nearly as much the cheapest is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgetran_host.surrogates.robust import SHARE_SPREAD

LENGTH = 5.0  # of the Matern kernel, in standard deviations of the logarithms
NEARLY = 0.97  # of the best gain: as good, where it is cheaper
CONSTANT_SHARE = 0.3  # of a mean design's work, guessed before anything is measured


class Queries:
    """Of m candidates with terms (m, k)."""

    def __init__(self, terms: np.ndarray) -> None:
        self._terms = terms
        z = np.log1p(terms)
        spread = z.std(axis=0)
        spread[spread == 0] = 1.0
        self._near = _matern((z - z.mean(axis=0)) / spread)  # (m, m)

    def best(
        self,
        expected: np.ndarray,
        seen: Sequence[int],
        noise: float,
        allowed: np.ndarray | None = None,
    ) -> int:
        """expected (m,) costs > 0; allowed (m,) mask of those that may be asked for."""
        open_ = np.ones(len(expected), bool) if allowed is None else allowed.copy()
        open_[list(seen)] = False
        if not open_.any():
            raise ValueError("every candidate is measured")
        gains = self.gains(expected, seen, noise)
        good = open_ & (gains >= NEARLY * gains[open_].max())
        return int(np.flatnonzero(good)[expected[good].argmin()])

    def gains(self, expected: np.ndarray, seen: Sequence[int], noise: float) -> np.ndarray:
        """(m,) by how much the mean variance of relative errors falls."""
        shares = np.column_stack([np.ones(len(expected)), self._terms]) / expected[:, None]
        scale = shares.mean(axis=0)
        shares = shares / np.where(scale == 0, 1.0, scale)
        left = SHARE_SPREAD**2 * shares @ shares.T + noise**2 * self._near
        if len(seen):
            at = list(seen)
            known = left[np.ix_(at, at)] + noise**2 * np.eye(len(at))
            left = left - left[:, at] @ np.linalg.solve(known, left[at])
        gained: np.ndarray = (left**2).mean(axis=0) / (np.diag(left) + noise**2)
        return gained


def first_guess(terms: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(m,) costs in no unit: operations count alike, and a run costs something by itself."""
    flops = [at for at, name in enumerate(names) if name.endswith(("_flops", "_ops"))]
    work = terms[:, flops].sum(axis=1)
    guessed: np.ndarray = work + CONSTANT_SHARE * work.mean()
    return guessed


def _matern(z: np.ndarray) -> np.ndarray:
    squares = (z**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * z @ z.T, 0.0))
    root = np.sqrt(5.0) * distance / LENGTH
    kernel: np.ndarray = (1 + root + root**2 / 3) * np.exp(-root)
    return kernel
