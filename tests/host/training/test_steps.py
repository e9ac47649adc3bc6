"""Batches computed in parts, runs that stop early, runs that go wrong; each interrupted."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, fine_tune, loop, precision
from edgetran_host.training.batches import Batch
from edgetran_host.training.divergence import PATIENCE_STEPS, LossLevel
from edgetran_host.training.loop import Run, train
from edgetran_protos.errors import DataError
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]


class Interrupted(Exception):
    """Stands for whatever ends a process between two steps."""


def until(step: int) -> OnProgress:
    def listen(event: Progress) -> None:
        if event.done >= step:
            raise Interrupted

    return listen


def without_dropout(model: TextModel) -> TextModel:
    torch.manual_seed(0)
    return TextModel(dataclasses.replace(model.config, dropout=0.0))


class TestParts:
    @pytest.mark.parametrize("accumulation", [2, 3, 8, 100])
    def test_add_up_to_the_whole_batch(
        self,
        toy: Toys,
        fresh: Models,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        accumulation: int,
    ) -> None:
        monkeypatch.setattr(precision, "has_fast_bf16", lambda: False)  # it rounds parts otherwise
        task, data, _ = toy("classes", rows=44)  # the last batch is short
        found = []
        for parts in (1, accumulation):
            model = without_dropout(fresh(3))
            recipe = Recipe(2, 8, 3e-3, accumulation=parts)
            fine_tune(model, data, task, recipe, checkpoint=tmp_path)
            found.append(model.state_dict())
        for name, weight in found[0].items():
            torch.testing.assert_close(found[1][name], weight, atol=1e-4, rtol=1e-3, msg=name)

    def test_are_as_small_as_asked(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        _, data, _ = toy("classes", rows=20)
        sizes = []

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            sizes.append(len(logits))
            return logits.square().mean()

        recipe = Recipe(1, 10, 1e-3, accumulation=3)
        train(fresh(3), Run("testing", data, recipe, loss, tmp_path, 1, ignore))
        assert sizes == [3, 4, 3] * 2


class TestHeldOut:
    """Labels by lot: what is learnt of them is worth nothing on other rows."""

    @pytest.fixture
    def rows(self, toy: Toys) -> tuple[Task, Encoded, Encoded]:
        task, data, dev = toy("classes", rows=32)
        rng = np.random.default_rng(0)
        lots = [dataclasses.replace(x, labels=rng.integers(0, 3, len(x))) for x in (data, dev)]
        return task, lots[0], lots[1]

    def run(
        self,
        rows: tuple[Task, Encoded, Encoded],
        model: TextModel,
        folder: Path,
        on_progress: OnProgress = ignore,
        **recipe: int,
    ) -> dict[str, Tensor]:
        task, data, dev = rows
        made = Recipe(40, 8, 1e-2, **recipe)  # type: ignore[arg-type]
        fine_tune(model, data, task, made, checkpoint=folder, on_progress=on_progress, held_out=dev)
        return {name: x.clone() for name, x in model.state_dict().items()}

    def loss_on(self, rows: tuple[Task, Encoded, Encoded], model: TextModel) -> float:
        _, _, dev = rows
        arrays = (dev.input_ids, dev.attention_mask, dev.token_type_ids, dev.labels)
        ids, mask, types, labels = map(torch.from_numpy, arrays)
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(model(ids, mask, types), labels))

    def test_patience_ends_the_run(
        self, rows: tuple[Task, Encoded, Encoded], fresh: Models, tmp_path: Path
    ) -> None:
        events: list[Progress] = []
        self.run(rows, fresh(3), tmp_path, events.append, patience=3)
        last_step = max(event.done for event in events[:-1])
        assert last_step < 160 - 4  # of 160
        kept = int(events[-1].detail.split("kept step ")[1].split(",")[0])
        assert last_step in (kept + 3 * 4 - 1, kept + 3 * 4)  # four steps an epoch
        assert events[-1].done == events[-1].total == 160

    def test_the_best_weights_are_kept(
        self, rows: tuple[Task, Encoded, Encoded], fresh: Models, tmp_path: Path
    ) -> None:
        model, notes = fresh(3), []
        self.run(rows, model, tmp_path, lambda event: notes.append(event.detail))
        kept = float(notes[-1].split("loss ")[1])
        assert self.loss_on(rows, model) == pytest.approx(kept, abs=2e-3)
        task, data, _ = rows
        to_the_end = fresh(3)
        fine_tune(to_the_end, data, task, Recipe(40, 8, 1e-2), checkpoint=tmp_path / "end")
        assert self.loss_on(rows, to_the_end) > kept + 0.1

    @pytest.mark.parametrize("step", [3, 9, 14])
    def test_interrupted(
        self,
        rows: tuple[Task, Encoded, Encoded],
        fresh: Models,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        step: int,
    ) -> None:
        monkeypatch.setattr(loop, "SAVE_PERIOD_S", -1.0)
        how = {"patience": 3, "evaluation_steps": 3, "accumulation": 2}
        with pytest.raises(Interrupted):
            self.run(rows, fresh(3), tmp_path / "killed", until(step), **how)
        events: list[Progress] = []
        resumed = self.run(rows, fresh(3), tmp_path / "killed", events.append, **how)
        whole = self.run(rows, fresh(3), tmp_path / "whole", **how)
        assert events[0].done == step - 1
        assert not [name for name in whole if not torch.equal(whole[name], resumed[name])]


class TestDivergence:
    @given(st.lists(st.floats(0.01, 1.0), min_size=200, max_size=400))
    def test_noise_is_none(self, losses: list[float]) -> None:
        """Around a level, from the first step on."""
        level = LossLevel()
        for loss in itertools.chain([1.0], losses):
            level.update(0.5 + 0.2 * loss)
        assert not level.diverged

    def test_a_fall_is_none(self) -> None:
        level = LossLevel()
        for step in range(1000):
            level.update(math.exp(-step / 50))
            assert not level.diverged

    def test_a_bad_batch_is_none(self) -> None:
        level = LossLevel()
        for step in range(1000):
            level.update(30.0 if step == 500 else 0.1)
            assert not level.diverged

    @given(st.floats(0.0, 0.2))
    def test_an_easy_first_batch_says_nothing(self, easy: float) -> None:
        """A child that goes on from its trial's weights begins anywhere below its level."""
        level = LossLevel()
        for loss in itertools.chain([easy], itertools.repeat(0.3, 500)):
            level.update(loss)
        assert not level.diverged

    def test_back_at_chance_for_good_is(self) -> None:
        level = LossLevel()
        for _ in range(300):
            level.update(0.1)
        assert not level.diverged
        steps = 0
        level = LossLevel()
        for loss in [0.7] * 20 + [0.2] * 200:
            level.update(loss)
        while not level.diverged:
            level.update(0.7)
            steps += 1
        assert PATIENCE_STEPS <= steps <= PATIENCE_STEPS + 40

    def run(self, toy: Toys, model: TextModel, folder: Path, on_progress: OnProgress) -> int:
        """The loss is what the test says; a slope of 0 changes no weight. Steps it took."""
        _, data, _ = toy("classes", rows=8)
        taken = []
        told = itertools.chain([3.0], itertools.repeat(1.0, 60), itertools.repeat(9.0))
        start = 0

        def first(event: Progress) -> None:
            nonlocal start
            start = start or int(event.done)
            on_progress(event)

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            if not taken:
                for _ in range(start):
                    next(told)
            taken.append(next(told))
            return 0 * logits.sum() + taken[-1]

        recipe = Recipe(1000, 8, 1e-3)
        train(model, Run("testing", data, recipe, loss, folder, 1, first))
        return start + len(taken)

    def test_ends_the_run_and_says_so(
        self, toy: Toys, fresh: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "SAVE_PERIOD_S", -1.0)
        found = []
        for killed in (None, 90):
            folder, events = tmp_path / str(killed), []
            if killed:
                with pytest.raises(Interrupted):
                    self.run(toy, fresh(3), folder, until(killed))
            with pytest.raises(DataError, match=r"testing: the loss rose from 1\.\d+") as caught:
                self.run(toy, fresh(3), folder, events.append)
            assert "learning rate" in caught.value.hint
            found.append((int(events[-1].done), str(caught.value)))
        assert found[0] == found[1]  # an interruption does not change when
        assert 61 + PATIENCE_STEPS <= found[0][0] <= 61 + PATIENCE_STEPS + 20
