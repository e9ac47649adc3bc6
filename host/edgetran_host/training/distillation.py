"""A student learns from what a teacher said about each row, once, on disk; and, where
the recipe says so, from how the teacher got there (matching.py).

loss = (1 - w) · CE(labels) + w · T² · KL(teacher / T || student / T)
For regression both parts are squared errors. Of a row that nobody labelled w is 1.
Source: Hinton, Vinyals, Dean 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F
from edgetran.progress import OnProgress, ignore
from edgetran_protos.errors import DataError, UsageError
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import REGRESSION, Encoded, Task
from edgetran_host.training.batches import Batch
from edgetran_host.training.fine_tuning import label_loss
from edgetran_host.training.loop import HeldOut, Run, train
from edgetran_host.training.matching import Matching
from edgetran_host.training.objective import Loss, Objective, OnLogits
from edgetran_host.training.prediction import predict
from edgetran_host.training.recipes import Recipe
from edgetran_host.training.teacher_states import Guide, TeacherStates
from edgetran_host.training.threads import compute_threads
from edgetran_host.training.training_state import write_whole

TEMPERATURE = 2.0
TEACHER_WEIGHT = 0.8  # w


@dataclass(frozen=True)
class Targets:
    """What the teacher says."""

    logits: NDArray[np.float32]  # (rows, outputs)
    made: NDArray[np.bool_] | None = None  # (rows,): nobody labelled it; not saved; None: none is

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: slice) -> Targets:
        return Targets(self.logits[rows], None if self.made is None else self.made[rows])

    @property
    def evidence(self) -> Sequence[NDArray[np.generic]]:
        return [self.logits] if self.made is None else [self.logits, self.made]

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        write_whole(path, safetensors.numpy.save({"logits": np.ascontiguousarray(self.logits)}))

    @staticmethod
    def load(path: Path) -> Targets:
        """Raises DataError when the file is not what `save` wrote."""
        try:
            return Targets(safetensors.numpy.load(path.read_bytes())["logits"])
        except (SafetensorError, KeyError) as error:
            raise DataError(
                f"{path} holds no readable targets: {error}",
                hint="remove the file, then run the same command again",
            ) from error


def teacher_targets(
    teacher: TextModel, data: Encoded, *, threads: int = 1, on_progress: OnProgress = ignore
) -> Targets:
    return Targets(
        predict(teacher, data, threads, rounded=True, stage="teaching", on_progress=on_progress)
    )


def distil(
    student: TextModel,
    data: Encoded,
    targets: Targets,
    task: Task,
    recipe: Recipe,
    *,
    checkpoint: Path,
    threads: int = 1,
    on_progress: OnProgress = ignore,
    guide: Guide | None = None,
    held_out: Encoded | None = None,
) -> None:
    """Trains in place; goes on from `checkpoint` if it holds this very run.

    A recipe that weighs hidden states or relations needs a `guide`. With `held_out` rows
    the weights of the lowest loss on their labels are kept.
    """
    if len(data) != len(targets):
        raise UsageError(f"{len(data)} rows, but targets for {len(targets)}")
    loss = teacher_loss(task, torch.from_numpy(targets.logits), targets.made)
    objective: Objective = OnLogits(loss, targets.evidence)
    if recipe.hidden_weight or recipe.relation_weight:
        if guide is None:
            raise UsageError("the recipe asks for a teacher's hidden states, but there is none")
        with compute_threads(threads):
            objective = _matching(student, data, targets, loss, recipe, guide, on_progress)
    watched = None if held_out is None else HeldOut(held_out, OnLogits(label_loss(task)))
    run = Run(
        "distilling", data, recipe, objective, checkpoint, threads, on_progress, held_out=watched
    )
    train(student, run)


def _matching(
    student: TextModel,
    data: Encoded,
    targets: Targets,
    loss: Loss,
    recipe: Recipe,
    guide: Guide,
    on_progress: OnProgress,
) -> Matching:
    """Relations alone look at the last layer only."""
    layers = guide.layers if recipe.hidden_weight else guide.layers[-1:]
    depth = len(student.blocks)
    if len(guide.layers) != depth:
        raise UsageError(f"{depth} layers, but {len(guide.layers)} of the teacher to resemble")
    mine, theirs = _widths_out(student), _widths_out(guide.teacher)
    widths = [(h, theirs[layer]) for h, layer in zip(mine[-len(layers) :], layers)]
    states = TeacherStates(guide, data, layers, on_progress=on_progress)
    evidence = [*targets.evidence, *(x.numpy() for x in guide.teacher.state_dict().values())]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return Matching(
            loss, states, widths, recipe.hidden_weight, recipe.relation_weight, evidence
        )


def _widths_out(model: TextModel) -> list[int]:
    """Of the hidden state after each layer, projections to the next layer's width included."""
    layers = model.config.architecture.layers
    return [layer.hidden for layer in (*layers[1:], layers[-1])]


def teacher_loss(task: Task, taught: Tensor, made: NDArray[np.bool_] | None = None) -> Loss:
    """taught (rows, outputs), made (rows,): one entry a row of the data."""
    weights = torch.full((len(taught),), TEACHER_WEIGHT, dtype=taught.dtype)
    if made is not None:
        weights[torch.from_numpy(made)] = 1.0

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        rows = torch.from_numpy(batch.rows)
        wanted, w = taught[rows].to(logits.device), weights[rows].to(logits.device)
        if task.kind == REGRESSION:
            on_label = (logits[:, 0] - batch.labels).square()
            on_teacher = (logits - wanted).square().mean(1)
        else:
            on_label = F.cross_entropy(logits, batch.labels, reduction="none")
            apart = F.kl_div(
                F.log_softmax(logits / TEMPERATURE, dim=-1),
                F.log_softmax(wanted / TEMPERATURE, dim=-1),
                reduction="none",
                log_target=True,
            )
            on_teacher = TEMPERATURE**2 * apart.sum(1)
        return ((1 - w) * on_label + w * on_teacher).mean()

    return loss
