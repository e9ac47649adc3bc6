"""A tiny model really learns: labels, pairs, values, and what a teacher says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task, score
from edgetran_host.training import Recipe, distil, fine_tune, predict, teacher_targets

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

RECIPE = Recipe(epochs=8, batch_size=16, learning_rate=5e-3)


def held_out_score(model: TextModel, task: Task, dev: Encoded) -> float:
    return score(task, predict(model, dev)).value


@pytest.mark.parametrize("kind", ["classes", "pairs", "values"])
def test_labels(toy: Toys, fresh: Models, tmp_path: Path, kind: str) -> None:
    task, train, dev = toy(kind, rows=448)
    model = fresh(max(1, len(task.labels)))
    assert held_out_score(model, task, dev) < 0.8
    fine_tune(model, train, task, RECIPE, checkpoint=tmp_path)
    assert held_out_score(model, task, dev) > 0.95


def test_a_student_learns_from_its_teacher_what_the_labels_deny(
    toy: Toys, fresh: Models, tmp_path: Path
) -> None:
    """Labels drawn by lot hold a fifth of the loss; the teacher decides."""
    task, train, dev = toy("classes", rows=448)
    teacher = fresh(3)
    fine_tune(teacher, train, task, RECIPE, checkpoint=tmp_path / "teacher")
    noise = np.random.default_rng(1).integers(0, 3, len(train))
    blind = Encoded(train.input_ids, train.attention_mask, train.token_type_ids, noise)
    student = fresh(3, heads=("sa_sdp",), seed=1)
    targets = teacher_targets(teacher, blind)
    distil(student, blind, targets, task, RECIPE, checkpoint=tmp_path / "student")
    assert held_out_score(student, task, dev) > 0.95
