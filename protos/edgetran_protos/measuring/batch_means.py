"""The mean run with an interval, by batch means, and the rule when to stop measuring.

x_1..x_n, runs in order, are cut into k batches of consecutive runs, with means y_1..y_k:

    mean(y) +- t(0.975, k - 1) * sd(y) / sqrt(k)

Neighbouring runs resemble each other, so that single runs would promise too much. Batches
are made longer, and fewer, until neighbouring means no longer do: until their correlation
at lag 1 is below what chance gives (Law, "Simulation Modeling and Analysis", ch. 9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_protos.measuring.percentiles import Floats
from edgetran_protos.measuring.quantity import Quantity

MOST_BATCHES, FEWEST_BATCHES = 40, 10
CHANCE = 1.645  # standard errors of a correlation: one in twenty by chance
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # df 1..10


@dataclass(frozen=True)
class BatchMean:
    mean: Quantity
    batches: int
    lag: float  # correlation of neighbouring batch means
    independent: bool  # the lag is no more than chance


def batch_mean(runs: Floats) -> BatchMean:
    """runs (n,), all blocks in order."""
    count = min(MOST_BATCHES, len(runs))
    while True:
        means = np.array([part.mean() for part in np.array_split(runs, count)])
        lag = correlation(means)
        independent = lag <= CHANCE / math.sqrt(count)
        if independent or count // 2 < FEWEST_BATCHES:
            return BatchMean(mean_of(means.tolist()), count, lag, independent)
        count //= 2


def mean_of(values: Sequence[float]) -> Quantity:
    """The mean of one figure a batch, with its interval; one batch tells nothing of that."""
    array = np.asarray(values, np.float64)
    value, count = float(array.mean()), len(array)
    if count < 2:
        return Quantity(value)
    half = t_975(count - 1) * float(array.std(ddof=1)) / math.sqrt(count)
    return Quantity(value, value - half, value + half)


def correlation(values: Floats) -> float:
    """Of neighbours; 0 when there are too few, or all are equal."""
    off = values - values.mean()
    spread = float(off @ off)
    return float(off[:-1] @ off[1:]) / spread if len(values) > 2 and spread > 0 else 0.0


def narrow_enough(quantity: Quantity, half_width: float) -> bool:
    """Whether measuring may stop: the interval is at most so wide, as a share of the value."""
    return quantity.half_width <= half_width


def t_975(df: int) -> float:
    """Student's quantile. Beyond the table Cornish and Fisher's expansion, true to 0.001."""
    if df <= len(T_975):
        return T_975[df - 1]
    z = 1.959964
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3
