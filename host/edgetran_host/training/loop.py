"""The training loop that fine-tuning and distillation share.

AdamW, linear warm-up and decay, clipped gradients. The state is saved every few
seconds; a run that is killed and started again takes the same steps to the same
weights. Several processes (engine.py) split every batch and take the same step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgetran.progress import OnProgress, Progress
from edgetran_protos.errors import DataError
from numpy.typing import NDArray
from torch import nn

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.batches import Batch, epoch_order, lengths_of, steps_an_epoch, take
from edgetran_host.training.best_weights import BestWeights
from edgetran_host.training.device import moved, own_draws
from edgetran_host.training.divergence import Diverged, LossLevel
from edgetran_host.training.engine import Engine, engine
from edgetran_host.training.objective import Learner, Loss, Objective, OnLogits, mean_loss
from edgetran_host.training.precision import fast_products, learns_in_bf16
from edgetran_host.training.recipes import Recipe
from edgetran_host.training.threads import compute_threads
from edgetran_host.training.training_state import TrainingState
from edgetran_host.training.used_words import used_words

CLIP_NORM = 1.0
ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-6
SAVE_PERIOD_S = 20.0
EVALUATION_ROWS = 64  # computed together
STATE = "state.safetensors"


@dataclass(frozen=True)
class HeldOut:
    """Rows that are only looked at, and the loss on them."""

    data: Encoded
    objective: Objective


@dataclass(frozen=True)
class Run:
    """One training run: what, on which rows, towards which loss."""

    stage: str  # its name in progress events
    data: Encoded
    recipe: Recipe
    loss: Loss | Objective
    checkpoint: Path  # a folder of this run's own
    threads: int
    on_progress: OnProgress
    held_out: HeldOut | None = None

    @property
    def objective(self) -> Objective:
        return self.loss if isinstance(self.loss, Objective) else OnLogits(self.loss)

    @property
    def steps(self) -> int:
        return max(1, round(self.recipe.epochs * self.epoch_steps))

    @property
    def epoch_steps(self) -> int:
        return steps_an_epoch(len(self.data), self.recipe.batch_size)

    @property
    def evaluation_steps(self) -> int:
        return self.recipe.evaluation_steps or self.epoch_steps


@dataclass
class Standing:
    """Where a run stands, beside its weights and moments."""

    done: int = 0  # steps
    level: LossLevel = field(default_factory=LossLevel)
    best: BestWeights = field(default_factory=lambda: BestWeights(0))

    def numbers(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "level": dataclasses.asdict(self.level),
            "best": dict(self.best.numbers()),
        }


def train(model: TextModel, run: Run) -> None:
    """Trains in place and leaves the model in evaluation mode.

    Raises DataError for no rows, Diverged when the loss stops being a number or rises for good.
    """
    if not len(run.data):
        raise DataError(f"{run.stage}: there are no rows to learn from")
    word = model.embedding.word.weight
    word.requires_grad_(not run.recipe.freeze_embeddings)
    together, standing = engine(), Standing(best=BestWeights(run.recipe.patience))
    try:
        draws = own_draws(together.device(), run.recipe.seed + together.rank)
        with compute_threads(run.threads), draws, fast_products():
            learner = Learner(model, run.objective)
            together.start_alike(learner)
            state = TrainingState(run.checkpoint / STATE, _fingerprint(learner, run, together))
            learner.train()
            with _small_table(model, run, standing) as small, moved(learner, together.device()):
                _take_steps(learner, small, state, standing, together)
    finally:
        word.requires_grad_(True)
        model.eval()


def _take_steps(
    learner: Learner, run: Run, state: TrainingState, standing: Standing, together: Engine
) -> None:
    """From where the checkpoint stands to the last step, or to where it is stopped."""
    recipe, steps = run.recipe, run.steps
    optimiser = make_optimiser(learner, recipe)
    _restore(learner, optimiser, state, standing, together)
    run.on_progress(Progress(run.stage, standing.done, steps))
    saved = time.monotonic()
    device = together.device()
    for step, batch in enumerate(_batches(run, standing.done), start=standing.done):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, steps, recipe.warmup_fraction)
        due = together.rank == 0 and time.monotonic() - saved > SAVE_PERIOD_S
        loss, gradient, due_somewhere = _gradients(learner, batch.to(device), recipe, together, due)
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            raise Diverged(
                f"{run.stage}: the loss became {loss}, its gradient {gradient}, at step {step + 1}",
                hint="a lower learning rate or another --random-seed may help",
            )
        optimiser.step()
        standing.done = step + 1
        _watch(learner, run, standing, loss)
        if standing.best.over:
            break
        run.on_progress(Progress(run.stage, step + 1, steps, f"loss {standing.level.running:.3f}"))
        if due_somewhere and step + 1 < steps:
            _save(learner, optimiser, state, standing, together)
            saved = time.monotonic()
    if standing.best.weights:
        learner.load_state_dict(standing.best.weights)
        note = f"kept step {standing.best.step}, held-out loss {standing.best.loss:.3f}"
        standing.done = standing.best.step
        run.on_progress(Progress(run.stage, steps, steps, note))


def _watch(learner: Learner, run: Run, standing: Standing, loss: float) -> None:
    """Looks at held-out rows where that is due; raises Diverged."""
    level = standing.level
    level.update(loss)
    if level.diverged:
        raise Diverged(
            f"{run.stage}: the loss rose from {level.lowest:.3f} to {level.running:.3f} "
            f"and stayed there until step {standing.done}",
            hint="a lower learning rate may help; it comes from the recipe",
        )
    due = standing.done % run.evaluation_steps == 0 or standing.done == run.steps
    if run.held_out is not None and due:
        found = held_out_loss(learner.model, run.held_out)
        standing.best.update(found, standing.done, learner)


def held_out_loss(model: TextModel, held_out: HeldOut) -> float:
    """Without dropout; each process looks at its share of the batches."""
    order = np.argsort(lengths_of(held_out.data), kind="stable")
    cuts = range(0, len(order), EVALUATION_ROWS)
    batches = [take(held_out.data, order[at : at + EVALUATION_ROWS]) for at in cuts]
    mine = [batch.to(engine().device()) for batch in batches[engine().rank :: engine().count]]
    loss, weight = engine().sums(mean_loss(Learner(model, held_out.objective), mine))
    return loss / weight


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
    lengths, size, a_pass = lengths_of(run.data), run.recipe.batch_size, run.epoch_steps
    for epoch in range(first // a_pass, math.ceil(run.steps / a_pass)):
        order = epoch_order(lengths, size, run.recipe.seed, epoch)
        begin = max(0, first - epoch * a_pass)
        for rows in order[begin : run.steps - epoch * a_pass]:
            yield take(run.data, rows)


def _gradients(
    learner: Learner, batch: Batch, recipe: Recipe, together: Engine, due: bool
) -> tuple[float, float, bool]:
    """Fills the clipped gradients.

    Returns the loss, the gradient's norm before clipping, and whether any process finds a
    save due. Parts of a batch add up to the gradient of the whole, dropout aside.
    """
    learner.zero_grad(set_to_none=True)
    mean = 0.0
    for part, share in _parts(batch, learner.objective, recipe.accumulation, together):
        loss = learner(part)
        if share != 1.0:
            loss = loss * share
        loss.backward()
        mean += float(loss.detach())
    together.sum_gradients(learner.parameters())
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), CLIP_NORM)
    mean, wishes = together.sums((mean, due))
    return mean, float(norm), wishes > 0


def _parts(
    batch: Batch, objective: Objective, accumulation: int, together: Engine
) -> Sequence[tuple[Batch, float]]:
    """This process' parts and the share of each in the batch's loss.

    A process that gets no row computes one for nothing, so that all have the same gradients.
    """
    count = min(len(batch.rows), accumulation * together.count)
    if count == together.count == 1:
        return [(batch, 1.0)]
    edges = [round(len(batch.rows) * i / count) for i in range(count + 1)]
    parts = [batch[a:b] for a, b in zip(edges, edges[1:])]
    whole = sum(objective.weight(part) for part in parts)
    shares = [(part, objective.weight(part) / max(whole, 1.0)) for part in parts]
    return shares[together.rank :: together.count] or [(batch[:1], 0.0)]


def make_optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Matrices decay; biases and norms do not."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
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


def _save(
    learner: Learner,
    optimiser: torch.optim.AdamW,
    state: TrainingState,
    standing: Standing,
    together: Engine,
) -> None:
    """One file, written by the first process."""
    generators = together.generators()
    if together.rank == 0:
        state.save(learner, optimiser, generators, standing.best.weights, standing.numbers())
    together.wait()


def _restore(
    learner: Learner,
    optimiser: torch.optim.AdamW,
    state: TrainingState,
    standing: Standing,
    together: Engine,
) -> None:
    numbers, best = state.restore(learner, optimiser, together.rank, together.device())
    if numbers:
        standing.done = numbers["done"]
        standing.level = LossLevel(**numbers["level"])
        standing.best = BestWeights(standing.best.patience, **numbers["best"], weights=best)


@contextlib.contextmanager
def _small_table(model: TextModel, run: Run, standing: Standing) -> Iterator[Run]:
    """The run on the words it uses."""
    recipe, held_out = run.recipe, run.held_out

    def shrunk() -> float:
        rates = (schedule(i, run.steps, recipe.warmup_fraction) for i in range(standing.done))
        return math.prod(1 - recipe.learning_rate * rate * recipe.weight_decay for rate in rates)

    data = (run.data, held_out.data) if held_out else (run.data,)
    with used_words(model, data, shrunk) as (small, *watched):
        if held_out:
            held_out = dataclasses.replace(held_out, data=watched[0])
        yield dataclasses.replace(run, data=small, held_out=held_out)


def _fingerprint(learner: Learner, run: Run, together: Engine) -> str:
    """Changes with the model, its first weights, the rows, the teacher or the recipe."""
    model = learner.model
    bf16 = learns_in_bf16(together.device())
    told = (run.stage, run.recipe, model.config, bf16, together.count)
    digest = hashlib.sha256(repr(told).encode())
    arrays: list[NDArray[np.generic]] = list(learner.objective.evidence())
    for data in (run.data, *([run.held_out.data] if run.held_out else [])):
        arrays += [data.input_ids, data.attention_mask, data.token_type_ids, data.labels]
    arrays += [tensor.detach().numpy() for tensor in learner.state_dict().values()]
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
