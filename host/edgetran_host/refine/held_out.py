"""How far a model's outputs on held-out rows are from what they should be.

Where the fine-tuned seed teaches, from what it says of them: that orders models that hardly
differ, which the labels of a few hundred rows do not (docs/results.md). Else from the labels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgetran_host.job.bench import Bench
from edgetran_host.job.child import row_loss
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import REGRESSION, Task
from edgetran_host.training import Targets, predict


def held_out_loss(
    bench: Bench, model: TextModel, tokenizer_json: bytes, answers: Targets | None
) -> float:
    """answers: the seed's, of the held-out rows; None: labels."""
    data = bench.encode(bench.split.valid, tokenizer_json)
    return loss(bench.task, predict(model, data, bench.threads), data.labels, answers)


def loss(
    task: Task,
    outputs: NDArray[np.float32],
    labels: NDArray[np.generic],
    answers: Targets | None,
) -> float:
    """Mean of the rows: squared error for a regression; else the KL divergence from the answers,
    or the cross-entropy of the labels. outputs, answers: (rows, outputs)."""
    logits = torch.from_numpy(outputs)
    if answers is None:
        return float(row_loss(task)(logits, torch.from_numpy(labels)))
    said = torch.from_numpy(answers.logits)
    if task.kind == REGRESSION:
        return float(F.mse_loss(logits, said))
    found, wanted = (F.log_softmax(one, dim=-1) for one in (logits, said))
    return float(F.kl_div(found, wanted, reduction="batchmean", log_target=True))
