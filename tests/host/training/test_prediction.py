"""Predictions in batches are those of each row alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgetran.progress import Progress
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded, Task
from edgetran_host.training import predict

Toys = Callable[..., tuple[Task, Encoded, Encoded]]
Models = Callable[..., TextModel]


def one_by_one(model: TextModel, data: Encoded) -> np.ndarray:
    """Each row at its full padded length."""
    found = []
    model.eval()
    with torch.no_grad():
        for row in range(len(data)):
            parts = (data.input_ids, data.attention_mask, data.token_type_ids)
            found.append(model(*(torch.from_numpy(part[row : row + 1]) for part in parts)))
    return torch.cat(found).numpy()


@pytest.mark.parametrize("heads", [("sa_sdp",), ("sa_wma", "l_dft", "c_5")])
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 150])
def test_each_row_alone(toy: Toys, fresh: Models, heads: tuple[str, ...], rows: int) -> None:
    _, data, _ = toy("pairs", rows=rows)
    model = fresh(2, heads=heads)
    model.train()
    events: list[Progress] = []
    found = predict(model, data, on_progress=events.append)
    np.testing.assert_allclose(found, one_by_one(model, data), atol=1e-5, rtol=1e-4)
    assert (found.dtype, found.shape) == (np.float32, (rows, 2))
    assert (events[-1].done, events[-1].total) == (rows, rows)
    assert not model.training


def test_the_order_of_rows_does_not_matter(toy: Toys, fresh: Models) -> None:
    _, data, _ = toy("pairs", rows=100)
    model = fresh(2)
    backwards = predict(model, data[::-1])
    np.testing.assert_allclose(backwards[::-1], predict(model, data), atol=1e-5, rtol=1e-4)


def test_a_model_may_be_trained_after_it_predicted(toy: Toys, fresh: Models) -> None:
    _, data, _ = toy("pairs", rows=8)
    model = fresh(2)
    predict(model, data)
    ids = torch.from_numpy(data.input_ids)
    model(ids, torch.ones_like(ids), torch.zeros_like(ids)).sum().backward()
    assert model.classifier.weight.grad is not None
