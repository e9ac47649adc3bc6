"""The training loop: its schedule, its rows, what it may change, and how it fails."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, effort, fine_tune
from edgetran_host.training.batches import Batch, epoch_order, lengths_of, take
from edgetran_host.training.loop import Loss, Run, schedule, train
from edgetran_protos.errors import DataError, UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

ALL_BIASES = ("sa_wma", "l_dft", "c_5")  # kinds with parameters of their own, and one without


def run_of(
    data: Encoded,
    loss: Loss,
    checkpoint: Path,
    *,
    on_progress: OnProgress = ignore,
    **recipe: float,
) -> Run:
    made = Recipe(**{"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, **recipe})  # type: ignore[arg-type]
    return Run("testing", data, made, loss, checkpoint, 1, on_progress)


def mean_square(logits: Tensor, batch: Batch) -> Tensor:
    return logits.square().mean()


class TestSchedule:
    @given(st.integers(1, 500), st.floats(0, 1))
    def test_rises_to_the_peak_then_falls_towards_zero(self, steps: int, warmup: float) -> None:
        rates = [schedule(step, steps, warmup) for step in range(steps)]
        peak = rates.index(1.0)
        assert all(0 < rate <= 1 for rate in rates)
        assert all(a < b for a, b in zip(rates[:peak], rates[1 : peak + 1], strict=True))
        assert all(a >= b for a, b in zip(rates[peak:-1], rates[peak + 1 :], strict=True))

    @given(st.integers(1, 500), st.floats(0, 1))
    def test_is_the_lower_of_two_lines(self, steps: int, warmup: float) -> None:
        warm = max(1, round(steps * warmup))
        for step in range(steps):
            down = (steps - step) / (steps - warm) if steps > warm else 1.0
            assert schedule(step, steps, warmup) == pytest.approx(min((step + 1) / warm, down, 1))

    def test_the_last_step_still_moves(self) -> None:
        assert schedule(99, 100, 0.06) == pytest.approx(1 / 94)


class TestRows:
    @given(
        st.lists(st.integers(1, 30), min_size=1, max_size=300),
        st.integers(1, 17),
        st.integers(0, 5),
        st.integers(0, 5),
    )
    def test_an_epoch_holds_every_row_once(
        self, lengths: list[int], batch_size: int, seed: int, epoch: int
    ) -> None:
        order = epoch_order(np.array(lengths), batch_size, seed, epoch)
        assert sorted(np.concatenate(order).tolist()) == list(range(len(lengths)))
        assert sorted(map(len, order))[1:] == [batch_size] * (len(order) - 1)  # one may be short
        again = epoch_order(np.array(lengths), batch_size, seed, epoch)
        assert all(np.array_equal(a, b) for a, b in zip(order, again, strict=True))

    def test_epochs_and_seeds_have_their_own_order(self) -> None:
        lengths = np.full(200, 7)
        orders = {
            tuple(np.concatenate(epoch_order(lengths, 8, seed, epoch)))
            for seed in range(3)
            for epoch in range(3)
        }
        assert len(orders) == 9

    def test_rows_of_like_length_share_a_batch(self) -> None:
        lengths = np.random.default_rng(0).integers(1, 100, 512)
        spread = [np.ptp(lengths[rows]) for rows in epoch_order(lengths, 8, 0, 0)]
        assert np.mean(spread) < 10  # of 100 when drawn by lot

    @pytest.mark.parametrize(("epochs", "passes"), [(1, (1, 1)), (3, (3, 3)), (1.5, (1, 2))])
    def test_training_sees_each_row_once_an_epoch(
        self, toy: Toys, fresh: Models, tmp_path: Path, epochs: float, passes: tuple[int, int]
    ) -> None:
        _, data, _ = toy("classes", rows=60)
        seen: Counter[int] = Counter()

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            seen.update(batch.rows.tolist())
            return mean_square(logits, batch)

        train(fresh(3), run_of(data, loss, tmp_path, epochs=epochs))
        counts = [seen[row] for row in range(60)]
        assert (min(counts), max(counts)) == passes
        assert sum(counts) == pytest.approx(60 * epochs, abs=4)  # the short batch may come late

    def test_a_batch_is_cut_to_its_longest_row_and_keeps_every_token(self, toy: Toys) -> None:
        _, data, _ = toy("classes", rows=100)
        for rows in epoch_order(lengths_of(data), 4, 0, 0):
            batch = take(data, rows)
            width = batch.input_ids.shape[1]
            assert width == min(12, math.ceil(lengths_of(data)[rows].max() / 8) * 8)
            assert batch.attention_mask.sum() == data.attention_mask[rows].sum()
            assert np.array_equal(batch.input_ids, data.input_ids[rows, :width])
            assert np.array_equal(batch.token_type_ids, data.token_type_ids[rows, :width])
            assert np.array_equal(batch.labels, data.labels[rows])


class TestWhatMoves:
    def test_frozen_embeddings_stay(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        task, data, _ = toy("classes")
        model, before = fresh(3), fresh(3).state_dict()
        recipe = Recipe(1, 8, 1e-2, weight_decay=0.1, freeze_embeddings=True)
        fine_tune(model, data, task, recipe, checkpoint=tmp_path)
        same = {name for name, x in model.state_dict().items() if torch.equal(x, before[name])}
        assert same == {"embedding.word.weight"}
        assert all(p.requires_grad for p in model.parameters())
        assert not model.training

    def test_all_else_moves(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        task, data, _ = toy("classes")
        model, before = fresh(3), fresh(3).state_dict()
        fine_tune(model, data, task, Recipe(1, 8, 1e-2), checkpoint=tmp_path)
        assert not [n for n, x in model.state_dict().items() if torch.equal(x, before[n])]

    def test_matrices_decay_biases_and_norms_do_not(
        self, toy: Toys, fresh: Models, tmp_path: Path
    ) -> None:
        """Without a gradient Adam takes no step, so decay alone is left."""
        _, data, _ = toy("classes", rows=8)
        model, before = fresh(3, heads=ALL_BIASES), fresh(3, heads=ALL_BIASES).state_dict()
        with torch.no_grad():
            for name, x in (*model.named_parameters(), *before.items()):
                if name.endswith("bias"):
                    x.fill_(1.0)  # they start at 0, which cannot shrink
        run = run_of(
            data, lambda x, _: 0 * x.sum(), tmp_path, epochs=1, learning_rate=0.1, weight_decay=0.5
        )
        train(model, run)
        for name, x in model.state_dict().items():
            kept = 1.0 if name.endswith("bias") or "norm" in name else 1 - 0.1 * 0.5
            torch.testing.assert_close(x, before[name] * kept, msg=name)

    def test_nothing_outside_the_model(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        task, data, _ = toy("classes", rows=8)
        model, threads = fresh(3), torch.get_num_threads()
        torch.manual_seed(5)
        state = torch.get_rng_state()
        recipe = Recipe(1, 8, 1e-3)
        fine_tune(model, data, task, recipe, checkpoint=tmp_path, threads=threads + 1)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == threads

    def test_progress_counts_every_step(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        events: list[Progress] = []
        _, data, _ = toy("classes", rows=20)
        train(fresh(3), run_of(data, mean_square, tmp_path, on_progress=events.append))
        assert [event.done for event in events] == list(range(7))
        assert {(event.stage, event.total) for event in events} == {("testing", 6)}


class TestFailing:
    def test_a_loss_that_is_no_number(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        task, data, _ = toy("values")
        labels = data.labels.copy()
        labels[:] = math.nan
        broken = Encoded(data.input_ids, data.attention_mask, data.token_type_ids, labels)
        model, before = fresh(1), fresh(1).state_dict()
        with pytest.raises(DataError, match=r"fine-tuning: the loss became nan.* step 1") as caught:
            fine_tune(model, broken, task, Recipe(1, 8, 1e-3), checkpoint=tmp_path)
        assert "learning rate" in caught.value.hint
        assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
        assert not list(tmp_path.rglob("*.safetensors"))

    def test_a_gradient_that_is_no_number(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        """The loss is 0, but its slope is infinite; one step would spoil every weight."""
        _, data, _ = toy("classes")
        model = fresh(3)

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            return (logits - logits.detach()).sum().abs().sqrt()

        with pytest.raises(DataError, match="gradient nan"):
            train(model, run_of(data, loss, tmp_path))
        assert all(x.isfinite().all() for x in model.state_dict().values())

    def test_no_rows(self, toy: Toys, fresh: Models, tmp_path: Path) -> None:
        task, data, _ = toy("classes")
        with pytest.raises(DataError, match="no rows"):
            fine_tune(fresh(3), data[:0], task, Recipe(1, 8, 1e-3), checkpoint=tmp_path)

    def test_an_effort_nobody_knows(self) -> None:
        with pytest.raises(UsageError, match="heroic") as caught:
            effort("heroic")
        assert "quick" in caught.value.hint


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.floats(0.1, 3))
def test_steps_follow_from_rows_and_epochs(rows: int, batch_size: int, epochs: float) -> None:
    data = Encoded(*[np.ones((rows, 4), np.int64)] * 3, np.zeros(rows, np.int64))
    run = run_of(data, mean_square, Path(), epochs=epochs, batch_size=batch_size)
    assert run.steps == max(1, round(epochs * math.ceil(rows / batch_size)))
