"""Which points no other beats, and how much of a space they cover; all objectives are minimised.

The exact hypervolume is moocore's (Fonseca, Paquete, López-Ibáñez 2006, and later work).
"""

from __future__ import annotations

import numpy as np

from edgetran_host.cosearch.outcome import Outcome


def objectives(outcome: Outcome) -> np.ndarray:
    """(4,) to be minimised: 1 - score, ln latency, ln energy, ln peak power; NaN: not known."""
    score, *costs = np.array(  # None becomes NaN
        [outcome.score, outcome.latency_s, outcome.energy_j, outcome.peak_power_w], dtype=float
    )
    return np.array([1 - score, *np.log(costs)])


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    """one, other (m,): nowhere worse, somewhere better."""
    return bool((one <= other).all() and (one < other).any())


def front(points: np.ndarray) -> np.ndarray:
    """points (n, m) -> indices of those that no other dominates, ascending; equal ones stay."""
    import moocore  # of the training extra

    if not len(points):
        return np.zeros(0, dtype=int)
    return np.flatnonzero(moocore.is_nondominated(points, keep_weakly=True))


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """points (n, m): the volume that they dominate below reference (m,), which is worst."""
    import moocore

    inside = points[(points < reference).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=reference)) if len(inside) else 0.0
