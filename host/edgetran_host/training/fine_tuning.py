"""Fine-tuning on labels."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from edgetran.progress import OnProgress, ignore
from torch import Tensor

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import REGRESSION, Encoded, Task
from edgetran_host.training.batches import Batch
from edgetran_host.training.loop import HeldOut, Run, train
from edgetran_host.training.objective import Loss, OnLogits
from edgetran_host.training.recipes import Recipe


def fine_tune(
    model: TextModel,
    data: Encoded,
    task: Task,
    recipe: Recipe,
    *,
    checkpoint: Path,
    threads: int = 1,
    on_progress: OnProgress = ignore,
    held_out: Encoded | None = None,
) -> None:
    """Trains in place; goes on from `checkpoint` if it holds this very run.

    With `held_out` rows the weights of the lowest loss on them are kept.
    """
    on_labels = OnLogits(label_loss(task))
    watched = None if held_out is None else HeldOut(held_out, on_labels)
    run = Run(
        "fine-tuning", data, recipe, on_labels, checkpoint, threads, on_progress, held_out=watched
    )
    train(model, run)


def label_loss(task: Task) -> Loss:
    """Cross entropy, or squared error for regression."""

    def classes(logits: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(logits, batch.labels)

    def values(logits: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(logits[:, 0], batch.labels)

    return values if task.kind == REGRESSION else classes
