"""Intervals that hold what they promise: split-conformal on out-of-fold errors.

s_i = |log(y_i / y'_i)| with y'_i by a model that has not seen design i; the half-width is the
ceil((n + 1) share)-th smallest s. A new row of the same kind lies inside with at least that
share. Source: Vovk, Gammerman, Shafer (2005); cross-conformal as Barber et al. (2021).
"""

from __future__ import annotations

import math

import numpy as np

SHARE = 0.90


def half_width(foretold: np.ndarray, values: np.ndarray, share: float = SHARE) -> float:
    """In logarithms: [y' / exp(w), y' exp(w)]."""
    scores = np.sort(np.abs(np.log(values / foretold)))
    place = min(len(scores), math.ceil((len(scores) + 1) * share))
    return float(scores[place - 1])


def inside(foretold: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """(n,) whether each value lies in its interval."""
    found: np.ndarray = np.abs(np.log(values / foretold)) <= width + 1e-12
    return found
