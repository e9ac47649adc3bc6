"""Whether a level stayed where it was: blocks' medians, the reference's, blocks' powers.

l_1..l_k in order. It moved when max / min - 1 exceeds FAR, or when it kept going one way:
the slope of Theil and Sen over all of it exceeds CREEP, and Kendall's tau is near 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

FAR = 0.10
CREEP = 0.03
ONE_WAY = 0.75  # of 1: seven of eight pairs agree


def moved(levels: Sequence[float]) -> bool:
    if len(levels) < 2 or min(levels) <= 0:
        return False
    if max(levels) / min(levels) - 1 > FAR:
        return True
    return len(levels) > 3 and abs(creep(levels)) > CREEP and abs(tau(levels)) >= ONE_WAY


def creep(levels: Sequence[float]) -> float:
    """Change from first to last by the median slope, as a share of the median."""
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(levels), 2)]
    return float(np.median(slopes)) * (len(levels) - 1) / float(np.median(levels))


def tau(levels: Sequence[float]) -> float:
    """Kendall's, against the order."""
    signs = [np.sign(b - a) for a, b in combinations(levels, 2)]
    return float(np.mean(signs))


def deviation(levels: Sequence[float]) -> float:
    """Standard deviation as a share of the mean."""
    values = np.asarray(levels, np.float64)
    return float(values.std(ddof=1) / values.mean()) if len(values) > 1 else 0.0
