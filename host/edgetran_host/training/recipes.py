"""How much training a job pays for: the recipes behind --effort.

The quick rates come from runs of MiniLM-L6 on SST-2 and on spoken intents; the
others keep the rates and buy rows, epochs and trials. A small task is seen more often by the
seed, and its chosen design learns from made rows too (tasks/augmentation.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgetran_protos.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """One training run. The learning rate rises linearly, then falls linearly to zero."""

    epochs: float  # may be a fraction
    batch_size: int  # rows a step learns from, however they are computed
    learning_rate: float  # its peak
    warmup_fraction: float = 0.06
    weight_decay: float = 0.01
    seed: int = 0  # order of rows, dropout
    freeze_embeddings: bool = False  # word embeddings stay as they are
    accumulation: int = 1  # parts a batch is computed in; more need less memory
    evaluation_steps: int = 0  # between looks at held-out rows; 0: once an epoch
    patience: int = 0  # such looks without a better loss that end the run; 0: none do
    hidden_weight: float = 0.0  # of the teacher's hidden states, beside its logits
    relation_weight: float = 0.0  # of how the teacher relates positions


@dataclass(frozen=True)
class Effort:
    """What one job may spend."""

    train_rows: int | None  # of the task, for the seed and for choosing; None: all
    distillation_rows: int | None  # for the chosen design: those, and more that are new to the seed
    seed_recipe: Recipe
    trial_recipe: Recipe
    trial_rows: int  # rows a trial learns from
    trials: int  # designs that are trained
    final_recipe: Recipe
    least_seed_rows: int = 0  # that the seed sees at least, by more epochs where a task is small
    least_taught: int = 0  # rows for the chosen design, by made ones where a task has fewer


EFFORTS: Mapping[str, Effort] = {
    "quick": Effort(
        train_rows=8_000,
        distillation_rows=16_000,
        seed_recipe=Recipe(epochs=2, batch_size=16, learning_rate=1e-4),
        trial_recipe=Recipe(epochs=1, batch_size=32, learning_rate=1.5e-4),
        trial_rows=3_000,
        trials=5,
        final_recipe=Recipe(epochs=3, batch_size=32, learning_rate=1.5e-4),
    ),
    "standard": Effort(
        train_rows=20_000,
        distillation_rows=32_000,
        seed_recipe=Recipe(epochs=3, batch_size=32, learning_rate=8e-5),
        trial_recipe=Recipe(epochs=1, batch_size=32, learning_rate=1.5e-4),
        trial_rows=4_000,
        trials=8,
        final_recipe=Recipe(epochs=3, batch_size=32, learning_rate=1.5e-4),
        least_seed_rows=24_000,
        least_taught=24_000,
    ),
    "thorough": Effort(
        train_rows=None,
        distillation_rows=None,
        seed_recipe=Recipe(epochs=3, batch_size=32, learning_rate=5e-5),
        trial_recipe=Recipe(epochs=1, batch_size=32, learning_rate=1.5e-4),
        trial_rows=20_000,
        trials=48,
        final_recipe=Recipe(epochs=8, batch_size=32, learning_rate=1.5e-4),
        least_seed_rows=40_000,
        least_taught=60_000,
    ),
}


def effort(name: str) -> Effort:
    if name not in EFFORTS:
        raise UsageError(f"{name!r} is no effort", hint=f"choose {', '.join(EFFORTS)}")
    return EFFORTS[name]
