"""The loss of distillation against its formula, and the targets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, Targets, distil, predict, teacher_targets
from edgetran_host.training.batches import Batch
from edgetran_host.training.distillation import teacher_loss
from edgetran_host.training.objective import Loss
from edgetran_protos.errors import DataError, UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]
Values = NDArray[np.float64]

TEMPERATURE = 2.0
TEACHER = 0.8


def task_of(kind: str, labels: int) -> Task:
    return Task("t", kind, tuple(map(str, range(labels))), False, "accuracy", (), ())


def softmax(x: Values) -> Values:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def by_formula(student: Values, teacher: Values, labels: NDArray[np.int64]) -> float:
    total = 0.0
    for said, taught, label in zip(student, teacher, labels, strict=True):
        on_label = -np.log(softmax(said[None])[0, label])
        p, q = (softmax(x[None] / TEMPERATURE)[0] for x in (taught, said))
        divergence = sum(p[i] * np.log(p[i] / q[i]) for i in range(len(p)))
        total += (1 - TEACHER) * on_label + TEACHER * TEMPERATURE**2 * divergence
    return total / len(student)


def batch_of(rows: NDArray[np.int64], labels: torch.Tensor) -> Batch:
    nothing = torch.zeros((len(rows), 1), dtype=torch.int64)
    return Batch(rows, nothing, nothing, nothing, labels)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(0.01, 8))
def test_classes_against_the_formula(rows: int, classes: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    all_taught = rng.normal(scale=scale, size=(20, classes))
    student = rng.normal(scale=scale, size=(rows, classes))
    chosen, labels = rng.permutation(20)[:rows], rng.integers(0, classes, rows)
    loss = teacher_loss(task_of("classification", classes), torch.tensor(all_taught))
    found = loss(torch.tensor(student), batch_of(chosen, torch.tensor(labels)))
    assert found.item() == pytest.approx(by_formula(student, all_taught[chosen], labels), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_values_against_the_formula(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    all_taught, student = rng.normal(size=(20, 1)), rng.normal(size=(rows, 1))
    chosen, labels = rng.permutation(20)[:rows], rng.normal(size=rows)
    loss = teacher_loss(task_of("regression", 0), torch.tensor(all_taught))
    found = loss(torch.tensor(student), batch_of(chosen, torch.tensor(labels)))
    on_label = np.mean((student[:, 0] - labels) ** 2)
    on_teacher = np.mean((student - all_taught[chosen]) ** 2)
    wanted = (1 - TEACHER) * on_label + TEACHER * on_teacher
    assert found.item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("kind", "outputs"), [("classification", 3), ("regression", 1)])
def test_nobodys_labels_count_for_nothing(kind: str, outputs: int) -> None:
    """Of made rows the teacher alone is heard; the others' loss is as it was."""
    rng = np.random.default_rng(5)
    taught, student = (torch.tensor(rng.normal(size=(6, outputs))) for _ in range(2))
    task = task_of(kind, outputs if kind == "classification" else 0)
    made = np.array([False, True, True, False, True, False])
    numbers = torch.tensor([0, 1, 2, 2, 1, 0], dtype=torch.int64)
    labels = numbers if kind == "classification" else numbers.double()
    heard = teacher_loss(task, taught, made)

    def one(row: int, label: int, *, of: Loss = heard) -> float:
        at = np.array([row])
        return float(of(student[[row]], batch_of(at, torch.full_like(labels[:1], label))))

    for row in range(6):
        among_labels = {one(row, label) for label in range(3)}
        assert len(among_labels) == (1 if made[row] else 3)
    everyone = teacher_loss(task, taught)
    assert one(0, 2) == pytest.approx(one(0, 2, of=everyone), rel=1e-12)
    whole = heard(student, batch_of(np.arange(6), labels))
    parts = [one(row, int(numbers[row])) for row in range(6)]
    assert float(whole) == pytest.approx(np.mean(parts), rel=1e-12)
    said = taught.clone().requires_grad_()
    heard(said, batch_of(np.arange(6), labels)).backward()
    assert said.grad is not None
    assert torch.allclose(said.grad[made], torch.zeros(()).double(), atol=1e-12)
    assert (said.grad[~made].abs().sum(1) > 0).all()


def test_a_student_that_says_what_the_teacher_says_is_not_pulled() -> None:
    """Then only the labels are left, whatever the teacher thinks of them."""
    taught = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    student = taught.clone().requires_grad_()
    rows, labels = np.array([0, 1]), torch.tensor([0, 1])
    teacher_loss(task_of("classification", 3), taught)(student, batch_of(rows, labels)).backward()
    alone = taught.clone().requires_grad_()
    torch.nn.functional.cross_entropy(alone, labels).backward()
    assert student.grad is not None
    assert alone.grad is not None
    torch.testing.assert_close(student.grad, (1 - TEACHER) * alone.grad)


class TestTargets:
    def test_are_the_teachers_outputs_in_the_order_of_the_rows(
        self, toy: Toys, fresh: Models
    ) -> None:
        _, data, _ = toy("classes")
        teacher = fresh(3)
        said = teacher_targets(teacher, data).logits
        np.testing.assert_allclose(said, predict(teacher, data), rtol=0.02, atol=0.02)
        assert np.array_equal(said, predict(teacher, data, rounded=True))
        assert len(teacher_targets(teacher, data)[:10]) == 10

    def test_round_trip(self, tmp_path: Path) -> None:
        wide = np.arange(12, dtype=np.float32).reshape(6, 2)
        for logits in (wide, wide[::2], np.asfortranarray(wide)):
            Targets(logits).save(tmp_path / "targets")
            assert np.array_equal(Targets.load(tmp_path / "targets").logits, logits)
        assert [file.name for file in tmp_path.iterdir()] == ["targets"]

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
    def test_half_a_file(self, tmp_path: Path, share: float) -> None:
        file = tmp_path / "targets.safetensors"
        Targets(np.ones((100, 2), np.float32)).save(file)
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=r"targets\.safetensors") as caught:
            Targets.load(file)
        assert "remove" in caught.value.hint

    def test_of_other_rows(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        task, data, _ = toy("classes", rows=64)
        targets = Targets(np.zeros((63, 3), np.float32))
        with pytest.raises(UsageError, match="64 rows, but targets for 63"):
            distil(fresh(3), data, targets, task, Recipe(1, 8, 1e-3), checkpoint=tmp_path)


def test_each_seed_trains_another_student(toy: Toys, fresh: Models, tmp_path: Path) -> None:
    """From the same first weights: the order of rows and dropout are the seed's."""
    task, data, dev = toy("classes")
    targets = Targets(np.random.default_rng(0).normal(size=(len(data), 3)).astype(np.float32))
    said = []
    for at, seed in enumerate((0, 1, 2, 0)):
        student = fresh(3)
        recipe = Recipe(2, 8, 3e-3, seed=seed)
        distil(student, data, targets, task, recipe, checkpoint=tmp_path / str(at))
        said.append(predict(student, dev))
    assert np.array_equal(said[0], said[3])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(said[one] - said[other]).max() > 1e-3
