"""The loss that nodes are compared by, against formulas written out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetran_host.refine.held_out import loss
from edgetran_host.tasks import REGRESSION, Task, load_task
from edgetran_host.training import Targets

LABELS = np.array([0, 2, 1])


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("intents", limit=10)


def logits(seed: int, outputs: int = 3) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(3, outputs))
    return drawn.astype(np.float32)


def chances(outputs: np.ndarray) -> np.ndarray:
    raised = np.exp(outputs.astype(float))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def test_a_classifier_is_apart_by_the_divergence_from_the_answers(task: Task) -> None:
    own, said = logits(0), logits(1)
    p, q = chances(said), chances(own)
    expected = (p * np.log(p / q)).sum(1).mean()
    assert loss(task, own, LABELS, Targets(said)) == pytest.approx(expected, rel=1e-5)
    assert loss(task, said, LABELS, Targets(said)) == pytest.approx(0, abs=1e-6)


def test_without_answers_labels_count(task: Task) -> None:
    own = logits(0)
    expected = -np.log(chances(own)[np.arange(3), LABELS]).mean()
    assert loss(task, own, LABELS, None) == pytest.approx(expected, rel=1e-5)


def test_a_regression_is_apart_by_squares(task: Task) -> None:
    regression = dataclasses.replace(task, kind=REGRESSION, labels=())
    own, said, labels = logits(0, 1), logits(1, 1), np.array([0.5, 1.0, 4.0], np.float32)
    found = [loss(regression, own, labels, answers) for answers in (Targets(said), None)]
    expected = [((own - said) ** 2).mean(), ((own[:, 0] - labels) ** 2).mean()]
    assert found == pytest.approx(expected, rel=1e-5)
