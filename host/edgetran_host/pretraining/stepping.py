"""The steps of a pre-training: AdamW, warm-up and linear decay, clipped gradients.

Losses stay on the device and are read every few steps; only then does anything wait for
it, is the clock looked at, is the run judged (divergence), looked at on held-out text,
or saved. Dropout is seeded by step, so the state on disk is weights, moments and where
the run stands: a run that was killed goes on to the same weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from edgetran.progress import OnProgress, Progress
from edgetran_protos.errors import DataError
from torch import Tensor

from edgetran_host.pretraining.batches import Asked, Batches
from edgetran_host.pretraining.curve import Curve
from edgetran_host.pretraining.horizon import Horizon
from edgetran_host.pretraining.learner import MaskedLearner
from edgetran_host.pretraining.request import Request
from edgetran_host.pretraining.team import Team
from edgetran_host.training.best_weights import BestWeights
from edgetran_host.training.device import CPU
from edgetran_host.training.divergence import LossLevel
from edgetran_host.training.loop import CLIP_NORM, make_optimiser, schedule
from edgetran_host.training.recipes import Recipe
from edgetran_host.training.training_state import TrainingState

READ_STEPS = 10  # between two looks at the losses
LOOKS = 12  # at held-out text, evenly over the run
SAVE_PERIOD_S = 20.0
SAVE_SHARE = 20.0  # and at least so many times what a save takes
STAGE = "pre-training"
SEED_STRIDE = 1_000_003  # between the random numbers of two seeds


@dataclass(frozen=True)
class Run:
    """What one process brings to a run."""

    request: Request
    team: Team
    learner: MaskedLearner  # on the team's device
    batches: Batches
    held_out: tuple[Asked, ...]
    state: TrainingState
    curve: Curve
    on_progress: OnProgress


@dataclass
class Standing:
    """Where a run stands, beside its weights and moments."""

    done: int = 0  # steps
    looks: int = 0  # at held-out text
    elapsed_s: float = 0.0
    level: LossLevel = field(default_factory=LossLevel)
    best: BestWeights = field(default_factory=lambda: BestWeights(0))

    def numbers(self) -> dict[str, Any]:
        level, best = dataclasses.asdict(self.level), dict(self.best.numbers())
        plain = {"done": self.done, "looks": self.looks, "elapsed_s": self.elapsed_s}
        return {**plain, "level": level, "best": best}


class Stepper:
    """One process' part in a run."""

    def __init__(self, run: Run) -> None:
        self._run, self._team = run, run.team
        request = run.request
        recipe = Recipe(
            epochs=1,
            batch_size=request.batch_size,
            learning_rate=request.learning_rate,
            warmup_fraction=request.warmup_fraction,
            weight_decay=request.weight_decay,
        )
        self._optimiser = make_optimiser(run.learner, recipe)
        self._shared = run.team.shared(run.learner)
        self._called: Callable[..., Tensor] = self._shared
        if request.compiled:
            self._called = torch.compile(self._shared, dynamic=False)
        self.standing = Standing()
        self._horizon = Horizon(request.planned_steps, request.seconds)
        self._save_due_s = time.monotonic() + SAVE_PERIOD_S

    def learn(self) -> Standing:
        """To the end; the learner then has the weights that did best on held-out text.

        Raises DataError when the loss stops being a number or rises for good.
        """
        self._restore()
        self._tell()
        run, standing, horizon = self._run, self.standing, self._horizon
        run.learner.train()
        rows = self._team.mine(run.request.batch_size)
        stream = run.batches.stream(standing.done, rows, self._team.device)
        try:
            if not standing.looks:
                self._look()
            while not horizon.over(standing.done):
                self._block(stream)
                if horizon.share(standing.done) * LOOKS >= standing.looks:
                    self._look()
                self._save_if_due()
        finally:
            stream.close()
        if standing.best.step != standing.done:
            run.learner.load_state_dict(standing.best.weights)
        run.learner.eval()
        return standing

    def _block(self, stream: Iterator[Asked]) -> None:
        """READ_STEPS steps, or what is left; then reads what they lost."""
        standing, horizon = self.standing, self._horizon
        begun_s, total = time.monotonic(), horizon.total(standing.done)
        count = READ_STEPS - standing.done % READ_STEPS
        if horizon.steps is not None:
            count = min(count, horizon.steps - standing.done)
        found = [
            self._step(next(stream), step, total)
            for step in range(standing.done, standing.done + count)
        ]
        read = self._team.mean(torch.stack(found))  # (steps, 2); here the CPU waits
        (seconds,) = self._team.first_says((time.monotonic() - begun_s,))
        horizon.follow(count, seconds)
        standing.elapsed_s = horizon.elapsed_s
        for loss, norm in read.tolist():
            self._judge(loss, norm)
        loss, norm = read.mean(0).tolist()
        rate = self._rate(standing.done - 1, total)
        if self._team.rank == 0:
            self._run.curve.add(
                step=standing.done, seconds=standing.elapsed_s, loss=loss, rate=rate, norm=norm
            )
        self._tell()

    def _step(self, batch: Asked, step: int, total: int) -> Tensor:
        """(2,): the loss and the gradient's norm before clipping, on the device."""
        request, team = self._run.request, self._team
        torch.manual_seed((request.random_seed * SEED_STRIDE + step) * team.count + team.rank)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(step, total)
        size = len(batch.ids) // request.accumulation
        losses = []
        for at in range(0, len(batch.ids), size):
            part, last = batch[at : at + size], at + size == len(batch.ids)
            with contextlib.nullcontext() if last else team.alone(self._shared):
                losses.append(self._backward(part))
        parameters = self._run.learner.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return torch.stack([torch.stack(losses).sum(), norm])

    def _backward(self, part: Asked) -> Tensor:
        """Gradients are averaged over the team, so each process' share counts that much more."""
        with self._team.autocast():
            total: Tensor = self._called(*part.tensors)
        loss = total * (self._team.count / part.counted)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _rate(self, step: int, total: int) -> float:
        request = self._run.request
        return request.learning_rate * schedule(step, total, request.warmup_fraction)

    def _judge(self, loss: float, norm: float) -> None:
        level, standing = self.standing.level, self.standing
        standing.done += 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DataError(
                f"the loss became {loss}, its gradient {norm}, at step {standing.done}",
                hint="a lower --learning-rate or another --random-seed may help",
            )
        level.update(loss)
        if level.diverged:
            raise DataError(
                f"the loss rose from {level.lowest:.3f} to {level.running:.3f} "
                f"and stayed there until step {standing.done}",
                hint="a lower --learning-rate may help",
            )

    def _look(self) -> None:
        begun_s, standing, team = time.monotonic(), self.standing, self._team
        found = held_out_loss(self._run.learner, self._run.held_out, team)
        standing.best.update(found, standing.done, self._run.learner)
        standing.looks += 1
        (seconds,) = team.first_says((time.monotonic() - begun_s,))
        self._horizon.follow(0, seconds, learning=False)
        standing.elapsed_s = self._horizon.elapsed_s
        if team.rank == 0:
            self._run.curve.add(step=standing.done, seconds=standing.elapsed_s, held_out=found)
        self._tell()

    def _tell(self) -> None:
        standing, horizon = self.standing, self._horizon
        note = ""
        if standing.done and standing.looks:
            perplexity = math.exp(standing.best.loss)
            note = f"loss {standing.level.running:.3f}, held-out perplexity {perplexity:.1f}"
        if horizon.steps is not None:
            done, total = float(standing.done), float(horizon.steps)
        else:
            done, total = min(standing.elapsed_s, horizon.seconds), horizon.seconds
        self._run.on_progress(Progress(STAGE, done, total, note))

    def _save_if_due(self) -> None:
        (due,) = self._team.first_says((float(time.monotonic() >= self._save_due_s),))
        if not due or self._horizon.over(self.standing.done):
            return
        begun_s, standing = time.monotonic(), self.standing
        if self._team.rank == 0:
            generators = torch.get_rng_state()[None].repeat(self._team.count, 1)
            self._run.state.save(
                self._run.learner,
                self._optimiser,
                generators,
                standing.best.weights,
                standing.numbers(),
            )
        self._team.wait()
        ended_s = time.monotonic()
        self._save_due_s = ended_s + max(SAVE_PERIOD_S, SAVE_SHARE * (ended_s - begun_s))

    def _restore(self) -> None:
        """All processes read the one file."""
        run, standing = self._run, self.standing
        numbers, best = run.state.restore(run.learner, self._optimiser, 0, CPU)
        if numbers:
            standing.done, standing.looks = numbers["done"], numbers["looks"]
            standing.elapsed_s = self._horizon.elapsed_s = numbers["elapsed_s"]
            standing.level = LossLevel(**numbers["level"])
            standing.best = BestWeights(0, **numbers["best"], weights=best)
        if self._team.rank == 0:
            run.curve.cut(standing.done if numbers else -1)


@torch.inference_mode()
def held_out_loss(learner: MaskedLearner, batches: tuple[Asked, ...], team: Team) -> float:
    """Nats a token; each process looks at its share."""
    was_training = learner.training
    learner.eval()
    total = torch.zeros((), dtype=torch.float64, device=team.device)
    for batch in batches[team.rank :: team.count]:
        with team.autocast():
            total += learner(*batch.to(team.device).tensors)
    learner.train(was_training)
    return float(team.mean(total)) * team.count / batches[0].counted
