"""Training on the words in use gives the weights of training on the whole table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, fine_tune, precision, used_words
from edgetran_host.training.batches import epoch_order, lengths_of, take
from edgetran_host.training.fine_tuning import label_loss
from edgetran_host.training.loop import ADAM_BETAS, ADAM_EPS, CLIP_NORM, Run, schedule, train
from edgetran_host.training.objective import Loss
from edgetran_host.training.precision import autocast
from torch import Tensor

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=3e-3, weight_decay=0.5)


def few_words(data: Encoded) -> Encoded:
    """Words 20 and up become 20, so that half of the table is idle."""
    return dataclasses.replace(data, input_ids=data.input_ids.clip(max=20))


def by_plain_adamw(
    model: TextModel, data: Encoded, recipe: Recipe, objective: Loss
) -> dict[str, Tensor]:
    """A second, obvious implementation: the whole table, PyTorch's own loop over parameters."""
    decayed = [p for name, p in model.named_parameters() if p.ndim > 1 and "bias" not in name]
    chosen = {id(p) for p in decayed}
    others = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others}]
    adamw = torch.optim.AdamW(
        groups, betas=ADAM_BETAS, eps=ADAM_EPS, weight_decay=0.0, foreach=False, fused=False
    )
    lengths, an_epoch = lengths_of(data), math.ceil(len(data) / recipe.batch_size)
    steps = round(recipe.epochs * an_epoch)
    torch.manual_seed(recipe.seed)
    model.train()
    for step in range(steps):
        epoch, at = divmod(step, an_epoch)
        rows = epoch_order(lengths, recipe.batch_size, recipe.seed, epoch)[at]
        batch = take(data, rows)
        for group in adamw.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, steps, recipe.warmup_fraction)
        adamw.zero_grad()
        with autocast(torch.device("cpu")):
            logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, ragged=True)
        objective(logits.float(), batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM, foreach=False)
        adamw.step()
    return model.state_dict()


def trained(model: TextModel, data: Encoded, task: Task, folder: Path) -> dict[str, Tensor]:
    fine_tune(model, data, task, RECIPE, checkpoint=folder)
    return model.state_dict()


@pytest.mark.parametrize("heads", [("sa_sdp",), ("sa_sdp", "l_dft", "c_5")])
@pytest.mark.parametrize("pad", [0, 1, 3])
def test_equals_the_whole_table(
    toy: Toys,
    fresh: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    heads: tuple[str, ...],
    pad: int,
) -> None:
    task, data, _ = toy("classes")
    data = few_words(data)
    ids = np.where(data.input_ids == 0, pad, np.where(data.input_ids == pad, 0, data.input_ids))
    data = dataclasses.replace(data, input_ids=ids)

    def model() -> TextModel:
        made = fresh(3, heads=heads)
        config = dataclasses.replace(made.config, pad_id=pad, dropout=0.0)
        torch.manual_seed(0)
        return TextModel(config)

    small = trained(model(), data, task, tmp_path)
    monkeypatch.setattr(used_words, "WORTHWHILE", 0.0)  # no table is worth cutting
    whole = trained(model(), data, task, tmp_path)
    for name, weight in whole.items():
        torch.testing.assert_close(small[name], weight, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("seed", [0, 5])
def test_equals_plain_adamw_dropout_included(
    toy: Toys, fresh: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: False)
    task, data, _ = toy("classes")
    recipe = dataclasses.replace(RECIPE, seed=seed)
    model = fresh(3)
    fine_tune(model, few_words(data), task, recipe, checkpoint=tmp_path)
    plain = by_plain_adamw(fresh(3), few_words(data), recipe, label_loss(task))
    for name, weight in plain.items():
        torch.testing.assert_close(model.state_dict()[name], weight, atol=2e-5, rtol=1e-4, msg=name)


def test_the_table_is_small_while_training_and_whole_afterwards(
    toy: Toys, fresh: Models, tmp_path: Path
) -> None:
    _, data, _ = toy("classes")
    data, model, seen = few_words(data), fresh(3), set()
    whole = model.embedding.word

    def loss(logits: Tensor, batch: object) -> Tensor:
        seen.add(model.embedding.word.num_embeddings)
        return logits.square().mean()

    train(model, Run("testing", data, RECIPE, loss, tmp_path, 1, lambda _: None))
    assert seen == {len(np.unique(data.input_ids))}
    assert model.embedding.word is whole
    assert whole.num_embeddings == 40


def test_a_run_that_fails_leaves_the_whole_table(toy: Toys, fresh: Models, tmp_path: Path) -> None:
    _, data, _ = toy("classes")
    model, before = fresh(3), fresh(3).state_dict()

    def loss(logits: Tensor, batch: object) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, Run("testing", few_words(data), RECIPE, loss, tmp_path, 1, lambda _: None))
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
