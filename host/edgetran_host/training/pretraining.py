"""Masked-LM pre-training: a model from text alone.

On a CPU it teaches little within a day; it is here so that the method is whole and a
larger machine can use it. The head that names the masked words is no part of the model:
    Linear(h, h) -> GELU -> LayerNorm -> Linear(h, V) + bias, not tied to the embedding
Source: the method's specification, 2.2 and 2.5.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from edgetran.progress import OnProgress, ignore
from torch import Tensor, nn

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.heads import INIT_STD
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.batches import Batch
from edgetran_host.training.device import moved
from edgetran_host.training.engine import engine
from edgetran_host.training.loop import HeldOut, Run, held_out_loss, train
from edgetran_host.training.masking import IGNORED, Masking
from edgetran_host.training.objective import Objective
from edgetran_host.training.precision import autocast
from edgetran_host.training.recipes import Recipe
from edgetran_host.training.threads import compute_threads


class MaskedWords(Objective):
    """The head, and cross entropy over the masked tokens."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        width = config.architecture.layers[-1].hidden
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.dense = nn.Linear(width, width)
            self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
            self.decoder = nn.Linear(width, config.vocab_size)
            for linear in (self.dense, self.decoder):
                nn.init.normal_(linear.weight, std=INIT_STD)
                nn.init.zeros_(linear.bias)

    def forward(self, model: TextModel, batch: Batch) -> Tensor:
        asked = batch.labels != IGNORED  # (b, s); only these meet the vocabulary
        with autocast(batch.input_ids.device):
            states = model.hidden_states(
                batch.input_ids, batch.attention_mask, batch.token_type_ids, ragged=True
            )
            logits = self.logits(states[-1][asked])
        total = F.cross_entropy(logits.float(), batch.labels[asked], reduction="sum")
        return total / max(1, int(asked.sum()))

    def logits(self, states: Tensor) -> Tensor:
        """(n, h) -> (n, V)."""
        found: Tensor = self.decoder(self.norm(F.gelu(self.dense(states))))
        return found

    def weight(self, batch: Batch) -> float:
        """Masked tokens, not rows: the loss is a mean over them."""
        return int((batch.labels != IGNORED).sum())


def pretrain(
    model: TextModel,
    head: MaskedWords,
    data: Encoded,
    masking: Masking,
    recipe: Recipe,
    *,
    checkpoint: Path,
    threads: int = 1,
    on_progress: OnProgress = ignore,
    held_out: Encoded | None = None,
) -> None:
    """Trains both in place; goes on from `checkpoint` if it holds this very run.

    With `held_out` rows the weights of the lowest perplexity on them are kept.
    """
    watched = None if held_out is None else HeldOut(held_out, head, masking)
    run = Run(
        "pre-training",
        data,
        recipe,
        head,
        checkpoint,
        threads,
        on_progress,
        held_out=watched,
        change=masking,
    )
    train(model, run)


def perplexity(
    model: TextModel, head: MaskedWords, data: Encoded, masking: Masking, threads: int = 1
) -> float:
    """Of the masked tokens; the same ones at every call with the same `masking`."""
    device = engine().device()
    with compute_threads(threads), moved(model, device), moved(head, device):
        found = math.exp(held_out_loss(model, HeldOut(data, head, masking)))
    model.eval()
    return found
