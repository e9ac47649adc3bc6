"""What a text task is, wherever its rows came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetran_protos.errors import DataError

CLASSIFICATION = "classification"
REGRESSION = "regression"
MAX_NAMED = 5  # labels listed in an error
MAX_DIGITS = 18  # of a label that is read as a number


@dataclass(frozen=True)
class Row:
    """One example; `label` is a word for classification, a number for regression."""

    text: str
    text_pair: str | None
    label: str | float


@dataclass(frozen=True)
class Task:
    name: str
    kind: str  # CLASSIFICATION or REGRESSION
    labels: tuple[str, ...]  # empty for regression; a model's output i means labels[i]
    pairs: bool
    metric: str  # see `scoring.METRICS`
    train: tuple[Row, ...]
    dev: tuple[Row, ...]


def label_order(labels: set[str]) -> tuple[str, ...]:
    """Numbers by value, words by alphabet: the same in every run."""
    if all(_whole(label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))  # 1, 01 and 001 differ
    return tuple(sorted(labels))


def check(task: Task) -> Task:
    """The task, if something can be learned from it. Raises DataError."""
    for split, rows in (("train", task.train), ("dev", task.dev)):
        if not rows:
            raise DataError(f"{task.name}: the {split} split has no rows", hint=f"add {split} rows")
    only = task.train[0].label
    if all(row.label == only for row in task.train):
        raise DataError(
            f"{task.name}: all {len(task.train)} training rows have the label {only!r}",
            hint="there is something to learn only from rows with at least two labels",
        )
    if task.kind == REGRESSION:
        return task
    strange = sorted({str(row.label) for row in task.dev} - set(task.labels))
    if strange:
        raise DataError(
            f"{task.name}: dev has labels that train lacks: {_few(strange)}",
            hint=f"train knows {_few(task.labels)}; correct dev or add such rows to train",
        )
    return task


def _few(labels: Sequence[str]) -> str:
    shown = ", ".join(map(repr, labels[:MAX_NAMED]))
    return shown + (f" and {len(labels) - MAX_NAMED} more" if len(labels) > MAX_NAMED else "")


def _whole(label: str) -> bool:
    digits = label.removeprefix("-")
    return digits.isdecimal() and len(digits) <= MAX_DIGITS
