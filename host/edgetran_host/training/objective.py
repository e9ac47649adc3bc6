"""What a step minimises: a mean loss of the model on a batch.

An objective may own parameters (linear maps, a masked-LM head). They learn along with
the model, are part of the training state, and are dropped when the run ends.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetran_host.models.text_model import TextModel
from edgetran_host.training.batches import Batch
from edgetran_host.training.precision import autocast

Loss = Callable[[Tensor, Batch], Tensor]  # logits (b, outputs), the batch -> mean loss


class Objective(nn.Module, abc.ABC):
    @abc.abstractmethod
    def forward(self, model: TextModel, batch: Batch) -> Tensor:
        """The mean loss, float32, over whatever `weight` counts."""

    def weight(self, batch: Batch) -> float:
        """How much a part of a batch counts beside the other parts."""
        return len(batch.rows)

    def evidence(self) -> Sequence[NDArray[np.generic]]:
        """Arrays that tell this objective from another: what a teacher said."""
        return ()


class OnLogits(Objective):
    """A loss that looks at the model's outputs alone."""

    def __init__(self, loss: Loss, evidence: Sequence[NDArray[np.generic]] = ()) -> None:
        super().__init__()
        self._loss, self._evidence = loss, evidence

    def forward(self, model: TextModel, batch: Batch) -> Tensor:
        with autocast(batch.input_ids.device):
            logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, ragged=True)
        return self._loss(logits.float(), batch)

    def evidence(self) -> Sequence[NDArray[np.generic]]:
        return self._evidence


class Learner(nn.Module):
    """A model and its objective: everything that one optimiser moves."""

    def __init__(self, model: TextModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> Tensor:
        loss: Tensor = self.objective(self.model, batch)
        return loss


@torch.inference_mode()
def mean_loss(learner: Learner, batches: Sequence[Batch]) -> tuple[float, float]:
    """(sum of weighted losses, sum of weights), without dropout."""
    learner.eval()
    loss = weight = 0.0
    for batch in batches:
        counts = learner.objective.weight(batch)
        if counts:
            loss += float(learner(batch)) * counts
            weight += counts
    learner.train()
    return loss, weight
