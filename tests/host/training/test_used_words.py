"""Training on the words in use gives the weights of training on the whole table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import Recipe, fine_tune, used_words
from edgetran_host.training.loop import Run, train
from torch import Tensor

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=3e-3, weight_decay=0.5)


def few_words(data: Encoded) -> Encoded:
    """Words 20 and up become 20, so that half of the table is idle."""
    return dataclasses.replace(data, input_ids=data.input_ids.clip(max=20))


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
