"""Percentiles of timed blocks with intervals, and what speaks against trusting them.

The interval is a bootstrap on two levels: blocks are drawn with replacement, and
in each of them segments of consecutive runs. Neighbouring runs resemble each
other, so single runs must not be drawn (Kuensch 1989, "The jackknife and the
bootstrap for general stationary observations").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgetran_daemon.measuring.records import INVALID, SUSPECT, VALID, Quantity
from edgetran_daemon.runtimes.base import Tensor

RESAMPLES = 400
SEGMENTS = 10  # a block
LEVEL = (2.5, 97.5)  # percent: bounds of a 95 % interval
SEED = 20240229
QUANTILES = (50.0, 95.0, 99.0)

FEW_SAMPLES = 30
TOO_FEW_SAMPLES = 10
CV_SUSPECT = 0.10
CV_INVALID = 1.00
DRIFT_SHARE = 0.10  # spread of the blocks' medians over the median


def quantiles(blocks: Sequence[Tensor]) -> tuple[Quantity, Quantity, Quantity]:
    """p50, p95, p99 of all runs, with intervals."""
    values = np.percentile(np.concatenate(blocks), QUANTILES)
    rng = np.random.default_rng(SEED)
    drawn = np.array([np.percentile(_resample(blocks, rng), QUANTILES) for _ in range(RESAMPLES)])
    low, high = np.percentile(drawn, LEVEL, axis=0)
    p50, p95, p99 = (
        Quantity(float(v), float(min(v, lo)), float(max(v, hi)))
        for v, lo, hi in zip(values, low, high)
    )
    return p50, p95, p99


def mean(values: Sequence[float]) -> Quantity:
    """The mean of one figure a block, with its interval; one block tells nothing of that."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return Quantity(float(array.mean()))
    rng = np.random.default_rng(SEED)
    drawn = rng.choice(array, (RESAMPLES, len(array))).mean(axis=1)
    low, high = np.percentile(drawn, LEVEL)
    value = float(array.mean())
    return Quantity(value, min(value, float(low)), max(value, float(high)))


def coefficient_of_variation(blocks: Sequence[Tensor]) -> float:
    samples = np.concatenate(blocks)
    return float(samples.std() / samples.mean())


def judge(blocks: Sequence[Tensor], disturbances: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """(verdict, reasons why it is not "valid")."""
    count, variation = sum(len(block) for block in blocks), coefficient_of_variation(blocks)
    medians = np.array([np.median(block) for block in blocks])
    grave = {
        "too_few_samples": count < TOO_FEW_SAMPLES,
        f"latency_cv_above_{CV_INVALID:.2f}": variation > CV_INVALID,
    }
    slight = {
        "few_samples": TOO_FEW_SAMPLES <= count < FEW_SAMPLES,
        f"latency_cv_above_{CV_SUSPECT:.2f}": CV_SUSPECT < variation <= CV_INVALID,
        "drift": bool(np.ptp(medians) > DRIFT_SHARE * np.median(medians)),
    }
    reasons = tuple(name for name, holds in {**grave, **slight}.items() if holds)
    if any(grave.values()):
        return INVALID, (*reasons, *disturbances)
    return (SUSPECT if reasons or disturbances else VALID), (*reasons, *disturbances)


def _resample(blocks: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    pieces: list[Tensor] = []
    for which in rng.integers(len(blocks), size=len(blocks)):
        segments = np.array_split(blocks[which], min(SEGMENTS, len(blocks[which])))
        pieces.extend(segments[i] for i in rng.integers(len(segments), size=len(segments)))
    return np.concatenate(pieces)
