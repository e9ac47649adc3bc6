"""Percentiles with intervals, and MLPerf LoadGen's rule for how far samples carry one.

The interval is a bootstrap on two levels: blocks are drawn with replacement, and
in each of them segments of consecutive runs. Neighbouring runs resemble each
other, so single runs must not be drawn (Kuensch 1989, "The jackknife and the
bootstrap for general stationary observations").

LoadGen's rule (MLPerf Inference, "early stopping"): of n runs, t - 1 are discarded, the
slowest; the next one is a bound that the percentile p does not exceed, with confidence c:

    t = max {t >= 1 : P(Binomial(n, 1 - p) <= t) < 1 - c}      bound = sorted[n - t]

No such t: there are too few runs for that percentile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from edgetran_protos.measuring.quantity import Quantity

Floats = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 400
SEGMENTS = 10  # a block
LEVEL = (2.5, 97.5)  # percent: bounds of a 95 % interval
SEED = 20240229
CONFIDENCE = 0.99  # LoadGen's


def quantiles(blocks: Sequence[Floats], percents: Sequence[float]) -> tuple[Quantity, ...]:
    """Percentiles of all runs, with intervals."""
    values = np.percentile(np.concatenate(blocks), percents)
    rng = np.random.default_rng(SEED)
    drawn = np.array([np.percentile(_resample(blocks, rng), percents) for _ in range(RESAMPLES)])
    low, high = np.percentile(drawn, LEVEL, axis=0)
    return tuple(
        Quantity(float(v), float(min(v, lo)), float(max(v, hi)))
        for v, lo, hi in zip(values, low, high)
    )


def bound(samples: Floats, percent: float, confidence: float = CONFIDENCE) -> Optional[float]:
    """What the percentile does not exceed, by LoadGen's rule; None: too few samples."""
    discarded = _discarded(len(samples), percent / 100, confidence)
    if discarded < 1:
        return None
    return float(np.partition(samples, len(samples) - discarded)[len(samples) - discarded])


def runs_needed(percent: float, confidence: float = CONFIDENCE) -> int:
    """The fewest samples that carry the percentile by LoadGen's rule."""
    count = 1
    while _discarded(count, percent / 100, confidence) < 1:
        count *= 2
    low, high = count // 2, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if _discarded(middle, percent / 100, confidence) else (middle, high)
        )
    return high


def _discarded(n: int, p: float, confidence: float) -> int:
    """t; 0 when there is none."""
    if n < 2:
        return 0
    most = min(n - 1, math.ceil(n * (1 - p)) + 1)  # beyond the mean the tail exceeds any 1 - c
    k = np.arange(most)
    steps = np.log((n - k) / (k + 1)) + math.log((1 - p) / p)  # log pmf(k + 1) - log pmf(k)
    log_pmf = n * math.log(p) + np.concatenate(([0.0], np.cumsum(steps)))
    tail = np.logaddexp.accumulate(log_pmf)  # log P(Binomial <= k), k = 0..most
    return max(0, int((tail < math.log(1 - confidence)).sum()) - 1)


def _resample(blocks: Sequence[Floats], rng: np.random.Generator) -> Floats:
    pieces: list[Floats] = []
    for which in rng.integers(len(blocks), size=len(blocks)):
        segments = np.array_split(blocks[which], min(SEGMENTS, len(blocks[which])))
        pieces.extend(segments[i] for i in rng.integers(len(segments), size=len(segments)))
    return np.concatenate(pieces)
