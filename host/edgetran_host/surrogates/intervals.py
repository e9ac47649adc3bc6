"""Intervals that hold what they promise: split-conformal on out-of-fold errors.

s_i = |log(y_i / y'_i)| with y'_i by a model that has not seen design i; the half-width is the
ceil((n + 1) share)-th smallest s. A new row of the same kind lies inside with at least that
share. Fewer rows than that place needs get Student's interval for one more normal error.
Source: Vovk, Gammerman, Shafer (2005); cross-conformal as Barber et al. (2021).
"""

from __future__ import annotations

import math

import numpy as np

SHARE = 0.90


def half_width(foretold: np.ndarray, values: np.ndarray, share: float = SHARE) -> float:
    """In logarithms: [y' / exp(w), y' exp(w)]."""
    return error_width(np.log(values / foretold), share)


def error_width(errors: np.ndarray, share: float = SHARE) -> float:
    """In the unit of the errors (n,), which are those of models that had not seen the row."""
    place = math.ceil((len(errors) + 1) * share)
    if place > len(errors):
        return student_width(errors, share)
    return float(np.sort(np.abs(errors))[place - 1])


def student_width(errors: np.ndarray, share: float = SHARE) -> float:
    """Of one more error like these (n,), taken as normal about zero."""
    from scipy.stats import t

    count = len(errors)
    factor = float(t.ppf((1 + share) / 2, max(1, count - 1))) * math.sqrt(1 + 1 / count)
    return factor * float(np.sqrt((errors**2).mean()))


def inside(foretold: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """(n,) whether each value lies in its interval."""
    found: np.ndarray = np.abs(np.log(values / foretold)) <= width + 1e-12
    return found
