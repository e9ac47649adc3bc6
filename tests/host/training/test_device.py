"""Training on a CUDA device: as on the CPU but for rounding, and resumable there too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import Progress
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Guide, Recipe, distil, fine_tune, loop, predict, teacher_targets
from edgetran_host.training.device import ENVIRONMENT, compute_device
from edgetran_protos.errors import UsageError

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Interrupted(Exception):
    """Stands for whatever ends a process between two steps."""


def test_a_device_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "gpu")
    with pytest.raises(UsageError, match="is no device"):
        compute_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "cuda")
    with pytest.raises(UsageError, match="finds no CUDA device"):
        compute_device()


def test_cpu_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "cpu")
    assert compute_device() == torch.device("cpu")


@on_cuda
def test_predicts_what_the_cpu_does(
    toy: Toys, fresh: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data, _ = toy("classes", rows=70)
    model, found = fresh(3), {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv(ENVIRONMENT, device)
        found[device] = predict(model, data)
    np.testing.assert_allclose(found["cuda"], found["cpu"], atol=1e-4)
    assert next(model.parameters()).device.type == "cpu"


@on_cuda
def test_learns_after_it_answered(toy: Toys, fresh: Models, tmp_path: Path) -> None:
    task, data, _ = toy("classes", rows=44)
    model = fresh(3)
    before = predict(model, data)
    fine_tune(model, data, task, Recipe(1, 8, 3e-3), checkpoint=tmp_path)
    model(
        *(torch.from_numpy(x) for x in (data.input_ids, data.attention_mask, data.token_type_ids))
    ).sum().backward()
    assert np.abs(predict(model, data) - before).max() > 0


@on_cuda
def test_learns_what_the_cpu_does(
    toy: Toys, fresh: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetran_host.training.precision.learns_in_bf16", lambda device: False)
    task, data, _ = toy("classes", rows=44)
    found = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv(ENVIRONMENT, device)
        torch.manual_seed(0)
        model = TextModel(dataclasses.replace(fresh(3).config, dropout=0.0))
        fine_tune(model, data, task, Recipe(2, 8, 3e-3), checkpoint=tmp_path / device)
        found[device] = model.state_dict()
    for name, weight in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][name], weight, atol=2e-3, rtol=1e-2, msg=name)


@on_cuda
def test_goes_on_to_the_same_weights(
    toy: Toys, fresh: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, so the device's own generator must go on where it stood."""
    task, data, _ = toy("classes", rows=44)
    monkeypatch.setattr(loop, "SAVE_PERIOD_S", 0.0)

    def stop(event: Progress) -> None:
        if event.done >= 5:
            raise Interrupted

    whole, cut = fresh(3), fresh(3)
    fine_tune(whole, data, task, Recipe(2, 8, 3e-3), checkpoint=tmp_path / "whole")
    with pytest.raises(Interrupted):
        fine_tune(cut, data, task, Recipe(2, 8, 3e-3), checkpoint=tmp_path, on_progress=stop)
    again = fresh(3)
    fine_tune(again, data, task, Recipe(2, 8, 3e-3), checkpoint=tmp_path)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, atol=2e-3, rtol=1e-2, msg=name)


@on_cuda
def test_hidden_states_of_a_teacher_are_taught_there(
    toy: Toys, fresh: Models, tmp_path: Path
) -> None:
    task, data, _ = toy("classes", rows=44)
    teacher, student = fresh(3), fresh(3)
    targets = teacher_targets(teacher, data)
    recipe = Recipe(2, 8, 3e-3, hidden_weight=1.0, relation_weight=1.0)
    layers = tuple(range(len(student.blocks)))
    guide = Guide(teacher, layers)
    distil(student, data, targets, task, recipe, checkpoint=tmp_path, guide=guide)
    assert {p.device.type for m in (teacher, student) for p in m.parameters()} == {"cpu"}
