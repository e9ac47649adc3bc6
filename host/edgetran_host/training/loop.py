"""The training loop that fine-tuning and distillation share.

AdamW, linear warm-up and decay, clipped gradients. The state is saved every few
seconds; a run that is killed and started again takes the same steps to the same
weights.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from edgetran.progress import OnProgress, Progress
from edgetran_protos.errors import DataError
from numpy.typing import NDArray
from torch import Tensor

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.batches import Batch, epoch_order, lengths_of, steps_an_epoch, take
from edgetran_host.training.precision import autocast, has_fast_bf16
from edgetran_host.training.recipes import Recipe
from edgetran_host.training.threads import compute_threads
from edgetran_host.training.training_state import TrainingState

CLIP_NORM = 1.0
ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-6
SAVE_PERIOD_S = 20.0
STATE = "state.safetensors"
LOSS_MEMORY = 0.95  # of the running mean that progress shows

Loss = Callable[[Tensor, Batch], Tensor]  # logits (b, outputs), the batch -> mean loss


@dataclass(frozen=True)
class Run:
    """One training run: what, on which rows, towards which loss."""

    stage: str  # its name in progress events
    data: Encoded
    recipe: Recipe
    loss: Loss
    checkpoint: Path  # a folder of this run's own
    threads: int
    on_progress: OnProgress
    taught: NDArray[np.float32] | None = None  # what a teacher said, where `loss` asks one

    @property
    def steps(self) -> int:
        a_pass = steps_an_epoch(len(self.data), self.recipe.batch_size)
        return max(1, round(self.recipe.epochs * a_pass))


def train(model: TextModel, run: Run) -> None:
    """Trains in place and leaves the model in evaluation mode.

    Raises DataError when the loss stops being a number.
    """
    if not len(run.data):
        raise DataError(f"{run.stage}: there are no rows to learn from")
    word = model.embedding.word.weight
    word.requires_grad_(not run.recipe.freeze_embeddings)
    try:
        with compute_threads(run.threads), torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.recipe.seed)
            model.train()
            _take_steps(model, run)
    finally:
        word.requires_grad_(True)
        model.eval()


def _take_steps(model: TextModel, run: Run) -> None:
    """From where the checkpoint stands to the last step."""
    recipe, steps = run.recipe, run.steps
    optimiser = _optimiser(model, recipe)
    state = TrainingState(run.checkpoint / STATE, _fingerprint(model, run))
    done = state.restore(model, optimiser)
    run.on_progress(Progress(run.stage, done, steps))
    saved, shown = time.monotonic(), math.nan
    for step, batch in enumerate(_batches(run, done), start=done):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, steps, recipe.warmup_fraction)
        loss, gradient = _gradients(model, run.loss, batch)
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            raise DataError(
                f"{run.stage}: the loss became {loss}, its gradient {gradient}, at step {step + 1}",
                hint="a lower learning rate or another --random-seed may help",
            )
        optimiser.step()
        shown = loss if math.isnan(shown) else LOSS_MEMORY * shown + (1 - LOSS_MEMORY) * loss
        run.on_progress(Progress(run.stage, step + 1, steps, f"loss {shown:.3f}"))
        if time.monotonic() - saved > SAVE_PERIOD_S and step + 1 < steps:
            state.save(model, optimiser, step + 1)
            saved = time.monotonic()


def forget(checkpoint: Path) -> None:
    """Drops a finished run's state, once its model is safe elsewhere."""
    TrainingState(checkpoint / STATE, "").forget()


def schedule(step: int, steps: int, warmup_fraction: float) -> float:
    """Share of the peak rate at a step counted from 0: up to 1, then down to 0."""
    warm = max(1, round(steps * warmup_fraction))
    if step < warm:
        return (step + 1) / warm
    return max(0.0, (steps - step) / max(1, steps - warm))


def _batches(run: Run, first: int) -> Iterator[Batch]:
    """From step `first` on."""
    lengths, size = lengths_of(run.data), run.recipe.batch_size
    a_pass = steps_an_epoch(len(run.data), size)
    for epoch in range(first // a_pass, math.ceil(run.steps / a_pass)):
        order = epoch_order(lengths, size, run.recipe.seed, epoch)
        begin = max(0, first - epoch * a_pass)
        for rows in order[begin : run.steps - epoch * a_pass]:
            yield take(run.data, rows)


def _gradients(model: TextModel, loss_of: Loss, batch: Batch) -> tuple[float, float]:
    """Fills the clipped gradients; the loss, and the gradient's norm before clipping."""
    with autocast():
        logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    loss = loss_of(logits.float(), batch)
    model.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    return float(loss.detach()), float(norm)


def _optimiser(model: TextModel, recipe: Recipe) -> torch.optim.AdamW:
    """Matrices decay; biases and norms do not."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = {name for name, p in trained if p.ndim > 1 and not name.endswith("bias")}
    groups = [
        {
            "params": [p for name, p in trained if name in matrices],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for name, p in trained if name not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=ADAM_BETAS, eps=ADAM_EPS, fused=True
    )


def _fingerprint(model: TextModel, run: Run) -> str:
    """Changes with the model, its first weights, the data, the teacher or the recipe."""
    digest = hashlib.sha256(repr((run.stage, run.recipe, model.config, has_fast_bf16())).encode())
    data = run.data
    arrays = [data.input_ids, data.attention_mask, data.token_type_ids, data.labels]
    arrays += [] if run.taught is None else [run.taught]
    weights = [tensor.detach().numpy() for tensor in model.state_dict().values()]
    for array in (*arrays, *weights):
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
