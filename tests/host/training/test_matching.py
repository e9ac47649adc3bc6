"""Hidden states and relations against slow formulas; the teacher's states; what a student keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import Progress
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Guide, Recipe, Targets, distil, loop
from edgetran_host.training.batches import take
from edgetran_host.training.matching import hidden_distance, relation_distance, relation_heads
from edgetran_host.training.teacher_states import TeacherStates
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

BOTH = Recipe(2, 8, 3e-3, hidden_weight=1.0, relation_weight=1.0)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_against_the_formulas(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    b, s, h, wide = len(lengths), max(lengths), 8, 12
    mask = (np.arange(s) < np.array(lengths)[:, None]).astype(np.int64)
    x, y = rng.normal(size=(b, s, h)), rng.normal(size=(b, s, wide))
    other = rng.normal(size=(b, s, wide))
    hidden, relations, heads = 0.0, 0.0, 4
    for row, n in enumerate(lengths):
        for i in range(n):
            apart = ((other[row, i] - y[row, i]) ** 2).sum() / (y[row, i] ** 2).sum()
            hidden += apart / n / b
            for r in range(heads):
                mine = x[row, :n, r * 2 : r * 2 + 2]
                theirs = y[row, :n, r * 3 : r * 3 + 3]
                q = softmax(mine @ mine[i] / np.sqrt(2))
                p = softmax(theirs @ theirs[i] / np.sqrt(3))
                relations += (p * np.log(p / q)).sum() / heads / n / b
    tensors = [torch.tensor(z) for z in (x, y, other)]
    keep = torch.tensor(mask)
    assert relation_heads(h, wide) == heads
    assert hidden_distance(tensors[2], tensors[1], keep).item() == pytest.approx(hidden, rel=1e-6)
    found = relation_distance(tensors[0], tensors[1], keep).item()
    assert found == pytest.approx(relations, rel=1e-6, abs=1e-9)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_relation_heads_divide_both_widths(one: int, other: int) -> None:
    count = relation_heads(one, other)
    assert one % count == other % count == 0
    assert 1 <= count <= 12


class TestTeacherStates:
    @pytest.mark.parametrize("heads", [("sa_sdp",), ("l_dft", "c_5")])
    @pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
    def test_are_the_hidden_states_of_the_students_pieces(
        self, toy: Toys, fresh: Models, heads: tuple[str, ...], cache_bytes: int
    ) -> None:
        _, data, _ = toy("classes", rows=100)
        teacher = fresh(3, heads=heads)
        tokens = tuple(np.random.default_rng(0).permutation(40).tolist())
        guide = Guide(teacher, (0, 1), tokens)
        states = TeacherStates(guide, data, (1, 0), cache_bytes=cache_bytes)
        assert states.cached == bool(cache_bytes)
        rows = np.array([5, 3, 99, 17, 0])
        batch = take(data, rows)
        renamed = torch.tensor(tokens)[batch.input_ids]
        with torch.no_grad():
            wanted = teacher.eval().hidden_states(
                renamed, batch.attention_mask, batch.token_type_ids
            )
        real = batch.attention_mask.bool()
        for found, layer in zip(states.of(batch), (1, 0), strict=True):
            assert found.shape == wanted[layer + 1].shape
            torch.testing.assert_close(
                found[real], wanted[layer + 1][real], atol=2e-2, rtol=2e-2
            )  # bfloat16 where the CPU has it, float16 in the cache

    def test_a_part_of_a_batch_gets_its_own_rows(self, toy: Toys, fresh: Models) -> None:
        _, data, _ = toy("classes", rows=40)
        for cache_bytes in (0, 1 << 20):
            states = TeacherStates(Guide(fresh(3), (0, 1)), data, (1,), cache_bytes=cache_bytes)
            batch = take(data, np.arange(12))
            whole, part = states.of(batch)[0], states.of(batch[4:6])[0]
            real = batch.attention_mask[4:6].bool()
            assert part.shape == whole[4:6].shape
            torch.testing.assert_close(part[real], whole[4:6][real], atol=2e-2, rtol=2e-2)


@pytest.fixture
def narrow(fresh: Models) -> Callable[[], TextModel]:
    """Of other widths than the teacher, whose two layers have 16."""

    def make() -> TextModel:
        layers = tuple(Layer(h, ("sa_sdp",), 8, (32,)) for h in (16, 12))
        torch.manual_seed(5)
        return TextModel(dataclasses.replace(fresh(3).config, architecture=Architecture(layers)))

    return make


def distilled(
    student: TextModel, teacher: TextModel, toy: Toys, folder: Path, recipe: Recipe, **how: object
) -> TextModel:
    task, data, _ = toy("classes", rows=64)
    targets = Targets(np.zeros((64, 3), np.float32))
    guide = Guide(teacher, (0, 1))
    distil(student, data, targets, task, recipe, checkpoint=folder, guide=guide, **how)  # type: ignore[arg-type]
    return student


def distance(student: TextModel, teacher: TextModel, toy: Toys) -> float:
    """Of relations, on rows it has not seen."""
    _, _, dev = toy("classes")
    batch = take(dev, np.arange(len(dev)))
    inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
    with torch.no_grad():
        x, y = (m.eval().hidden_states(*inputs)[-1] for m in (student, teacher))
    return relation_distance(x, y, batch.attention_mask).item()


def test_a_student_comes_to_relate_as_its_teacher(
    toy: Toys, fresh: Models, narrow: Callable[[], TextModel], tmp_path: Path
) -> None:
    teacher = fresh(3, seed=2)
    related = distilled(narrow(), teacher, toy, tmp_path, Recipe(20, 8, 3e-3, relation_weight=20.0))
    plain = distilled(narrow(), teacher, toy, tmp_path, Recipe(20, 8, 3e-3))
    assert distance(related, teacher, toy) < 0.5 * distance(plain, teacher, toy)


def test_maps_are_dropped_and_the_teacher_stays(
    toy: Toys, fresh: Models, narrow: Callable[[], TextModel], tmp_path: Path
) -> None:
    teacher, before = fresh(3), fresh(3).state_dict()
    student = distilled(narrow(), teacher, toy, tmp_path, BOTH)
    assert student.state_dict().keys() == narrow().state_dict().keys()
    assert all(torch.equal(x, before[name]) for name, x in teacher.state_dict().items())


def test_interrupted(
    toy: Toys,
    fresh: Models,
    narrow: Callable[[], TextModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The maps and their moments are part of the state."""
    monkeypatch.setattr(loop, "SAVE_PERIOD_S", -1.0)

    def listen(event: Progress) -> None:
        if event.stage == "distilling" and event.done == 9:
            raise KeyboardInterrupt

    recipe = dataclasses.replace(BOTH, accumulation=2)
    with pytest.raises(KeyboardInterrupt):
        distilled(narrow(), fresh(3), toy, tmp_path / "killed", recipe, on_progress=listen)
    events: list[Progress] = []
    resumed = distilled(
        narrow(), fresh(3), toy, tmp_path / "killed", recipe, on_progress=events.append
    )
    whole = distilled(narrow(), fresh(3), toy, tmp_path / "whole", recipe)
    assert next(event.done for event in events if event.stage == "distilling") == 8
    weights = whole.state_dict()
    assert all(torch.equal(x, weights[name]) for name, x in resumed.state_dict().items())


def test_what_it_cannot_do(
    toy: Toys, fresh: Models, narrow: Callable[[], TextModel], tmp_path: Path
) -> None:
    task, data, _ = toy("classes", rows=8)
    targets = Targets(np.zeros((8, 3), np.float32))
    with pytest.raises(UsageError, match="hidden states"):
        distil(narrow(), data, targets, task, BOTH, checkpoint=tmp_path)
    guide = Guide(fresh(3), (1,))
    with pytest.raises(UsageError, match="2 layers, but 1"):
        distil(narrow(), data, targets, task, BOTH, checkpoint=tmp_path, guide=guide)
