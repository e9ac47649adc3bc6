"""When warm-up is over: the last change of level in the times of its runs.

x_1..x_n, medians of consecutive runs, on a logarithmic scale. Levels are found by the best
cut of x into stretches, each with a mean of its own:

    minimise  sum over stretches of sum (x - mean)^2  +  beta * (stretches - 1)

by dynamic programming (Jackson et al. 2005, "optimal partitioning"), with
beta = 4 s^2 ln n and s from the differences of neighbours, so that noise makes no stretch.
Levels that differ by less than a run's worth of noticing (2 %) are one. Runs are steady from
the last change on, if there are enough of them behind it: a program can be slow, fast and
slow again (Barrett et al. 2017, "Virtual machine warmup blows hot and cold").
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgetran_protos.measuring.percentiles import Floats

POINTS, A_POINT = 48, 3  # medians that stand for all runs, each of so many at least
PENALTY = 4.0
NOTICED = 0.02  # of the level: smaller changes are none
STEADY_SHARE = 0.4  # of the runs, at least, must lie behind the last change
QUIET = 0.002  # of the level: less noise than that counts as that
MAD = 1.4826  # times the median deviation is the standard deviation of a normal


def steady_from(runs_s: Floats) -> Optional[int]:
    """The number of the run from which on the times are steady; None: they are not yet."""
    if not len(runs_s) or runs_s.min() <= 0:
        return None
    parts = np.array_split(runs_s, max(1, min(POINTS, len(runs_s) // A_POINT)))
    medians = np.log([float(np.median(part)) for part in parts])
    last = changes(medians)[-1:]  # the start of the last stretch
    begins = last[0] if last else 0
    if len(medians) - begins < STEADY_SHARE * len(medians):
        return None
    return sum(len(part) for part in parts[:begins])


def changes(x: Floats) -> list[int]:
    """Where a new level begins, in order; none when there is one level only."""
    cuts = best_cuts(x, PENALTY * max(noise(x), QUIET) ** 2 * np.log(max(len(x), 2)))
    found: list[int] = []
    bounds = [0, *cuts, len(x)]
    level = float(np.mean(x[: bounds[1]]))
    for begin, end in zip(bounds[1:-1], bounds[2:]):
        here = float(np.mean(x[begin:end]))
        if abs(here - level) > NOTICED:
            found.append(begin)
            level = here
    return found


def best_cuts(x: Floats, penalty: float) -> list[int]:
    """The starts of all stretches but the first of the best cut; x (n,)."""
    n = len(x)
    sums = np.concatenate(([0.0], np.cumsum(x)))
    squares = np.concatenate(([0.0], np.cumsum(x * x)))
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    before = np.zeros(n + 1, np.int64)
    for end in range(1, n + 1):
        begin = np.arange(end)
        total = sums[end] - sums[begin]
        cost = squares[end] - squares[begin] - total**2 / (end - begin)
        whole = best[begin] + np.maximum(cost, 0.0) + penalty
        before[end] = int(np.argmin(whole))
        best[end] = whole[before[end]]
    cuts = []
    at = int(before[n])
    while at > 0:
        cuts.append(at)
        at = int(before[at])
    return cuts[::-1]


def noise(x: Floats) -> float:
    """Standard deviation around the level, whatever the level does."""
    if len(x) < 3:
        return 0.0
    return MAD * float(np.median(np.abs(np.diff(x)))) / 2**0.5
