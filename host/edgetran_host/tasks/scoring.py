"""The metrics of GLUE, each with a 95 % interval.

Accuracy has Wilson's interval; every other metric a percentile bootstrap over rows.
CoLA: Matthews correlation. MRPC, QQP: mean of accuracy and F1. STS-B and other
regression: mean of Pearson and Spearman. All else: accuracy. The parts of a mean
stand in `Scores.others`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from edgetran_protos.errors import DataError
from numpy.typing import NDArray

from edgetran_host.tasks.task import REGRESSION, Task

Z95 = 1.959963984540054  # standard normal quantile at 0.975
RESAMPLES = 1000
METRIC_OF_TASK = {"cola": "matthews", "mrpc": "accuracy_f1", "qqp": "accuracy_f1"}
REGRESSION_METRIC = "pearson_spearman"

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    metric: str
    value: float
    low: float
    high: float
    others: Mapping[str, float]


def metric_of(task_name: str, labels: int) -> str:
    """labels: how many there are; none means regression."""
    if not labels:
        return REGRESSION_METRIC
    return METRIC_OF_TASK.get(task_name.lower(), "accuracy") if labels == 2 else "accuracy"


def score(task: Task, outputs: NDArray[np.floating]) -> Scores:
    """outputs (rows of dev, max(1, labels)): logits, or the regression value."""
    wanted = (len(task.dev), max(1, len(task.labels)))
    if outputs.shape != wanted:
        raise ValueError(f"outputs must be {wanted}, got {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise DataError("the model gives values that are not finite", hint="train it again")
    if task.kind == REGRESSION:
        guess, truth = outputs[:, 0].astype(float), np.array([row.label for row in task.dev], float)
    else:
        index = {label: i for i, label in enumerate(task.labels)}
        guess = outputs.argmax(1).astype(float)
        truth = np.array([index[str(row.label)] for row in task.dev], float)
    return _scores(task.metric, guess, truth)


def _scores(metric: str, guess: Values, truth: Values) -> Scores:
    parts = {name: METRICS[name](guess, truth) for name in PARTS[metric]}
    value = sum(parts.values()) / len(parts)
    if metric == "accuracy":
        low, high = wilson(value, len(truth))
    else:
        low, high = _bootstrap(PARTS[metric], guess, truth)
    return Scores(metric, value, low, high, parts)


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` independent rows (Wilson 1927)."""
    z2 = Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _bootstrap(names: tuple[str, ...], guess: Values, truth: Values) -> tuple[float, float]:
    rng = np.random.default_rng(0)  # the interval of given rows is always the same
    found = []
    for _ in range(RESAMPLES):
        at = rng.integers(0, len(truth), len(truth))
        found.append(sum(METRICS[name](guess[at], truth[at]) for name in names) / len(names))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def accuracy(guess: Values, truth: Values) -> float:
    return float((guess == truth).mean())


def f1(guess: Values, truth: Values) -> float:
    """Of label 1 of two, as GLUE counts it; 0 when it is neither there nor guessed."""
    both = ((guess == 1) & (truth == 1)).sum()
    either = (guess == 1).sum() + (truth == 1).sum()
    return float(2 * both / either) if either else 0.0


def matthews(guess: Values, truth: Values) -> float:
    """Of two labels, as GLUE counts it: their Pearson correlation."""
    return pearson(guess, truth)


def pearson(guess: Values, truth: Values) -> float:
    """0 when either side is constant, where it is not defined."""
    if np.ptp(guess) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(np.corrcoef(guess, truth)[0, 1])


def spearman(guess: Values, truth: Values) -> float:
    from scipy.stats import rankdata

    return pearson(rankdata(guess), rankdata(truth))


METRICS: Mapping[str, Callable[[Values, Values], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
PARTS: Mapping[str, tuple[str, ...]] = {  # a headline metric is the mean of its parts
    "accuracy": ("accuracy",),
    "accuracy_f1": ("accuracy", "f1"),
    "matthews": ("matthews",),
    "pearson_spearman": ("pearson", "spearman"),
}
