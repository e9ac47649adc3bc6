"""A model's outputs on many rows."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from edgetran.progress import OnProgress, Progress, ignore
from numpy.typing import NDArray

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.batches import lengths_of, take
from edgetran_host.training.device import compute_device, moved
from edgetran_host.training.precision import autocast
from edgetran_host.training.threads import compute_threads

BATCH_ROWS = 64


def predict(
    model: TextModel,
    data: Encoded,
    threads: int = 1,
    *,
    rounded: bool = False,
    stage: str = "predicting",
    on_progress: OnProgress = ignore,
) -> NDArray[np.float32]:
    """(rows, outputs) float32, in the order of `data`; rows of like length run together.

    rounded: by products of fewer bits, as training has them: quicker, good enough to learn from.
    """
    model.eval()
    order = np.argsort(lengths_of(data), kind="stable")
    outputs = np.empty((len(data), model.config.outputs), np.float32)
    device = compute_device()
    # The model moves outside of inference mode: what moves inside can never learn again.
    products = autocast(device) if rounded else contextlib.nullcontext()
    with compute_threads(threads), moved(model, device), torch.inference_mode(), products:
        for at in range(0, len(order), BATCH_ROWS):
            rows = order[at : at + BATCH_ROWS]
            batch = take(data, rows).to(device)
            found = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, ragged=True)
            outputs[rows] = found.float().cpu().numpy()
            on_progress(Progress(stage, at + len(rows), len(order)))
    return outputs
