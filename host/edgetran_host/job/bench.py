"""What every training of one request shares: the request itself, the data, the seed."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from edgetran.progress import OnProgress, ignore
from edgetran_protos.bundle import canonical_json

from edgetran_host.job.config import JobConfig
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.models.seeds import Seed, load_seed
from edgetran_host.tasks import Encoded, Row, Task, choose_sequence_length, encode, load_task
from edgetran_host.tasks.augmentation import augmented
from edgetran_host.training.recipes import Effort, Recipe, effort

VALIDATION_SHARE = 0.1  # of the training rows, held out to choose designs on
MAX_VALIDATION_ROWS = 1000
MOST_EPOCHS = 10  # of a seed's fine-tuning
WORDS = "embedding.word.weight"
CHECK_ROWS = 32  # real rows on which an export must agree with its model


@dataclass(frozen=True)
class Split:
    """Rows by use. Designs are chosen on `valid`; `dev` is only ever reported."""

    train: tuple[Row, ...]
    further: tuple[Row, ...]  # the seed never trains on them, so what it says there is no echo
    valid: tuple[Row, ...]
    dev: tuple[Row, ...]
    made: tuple[Row, ...] = ()  # from `train` and `further`, for a teacher to speak of

    @property
    def taught(self) -> tuple[Row, ...]:
        """What the chosen design learns from."""
        return self.train + self.further + self.made


@dataclass
class Bench:
    config: JobConfig
    task: Task
    seed: Seed
    run: RunDirectory
    threads: int
    on_progress: OnProgress

    @cached_property
    def effort(self) -> Effort:
        """Its recipes draw from the run's random seed; see also `seed_recipe`."""
        found, seed = effort(self.config.effort), self.config.random_seed
        return dataclasses.replace(
            found,
            seed_recipe=dataclasses.replace(found.seed_recipe, seed=seed),
            trial_recipe=dataclasses.replace(found.trial_recipe, seed=seed),
            final_recipe=dataclasses.replace(found.final_recipe, seed=seed),
        )

    @cached_property
    def seed_recipe(self) -> Recipe:
        """With as many epochs as a small task needs."""
        found = self.effort.seed_recipe
        needed = self.effort.least_seed_rows / len(self.split.train)
        return dataclasses.replace(found, epochs=max(found.epochs, min(MOST_EPOCHS, needed)))

    @cached_property
    def split(self) -> Split:
        rows = list(self.task.train)
        random.Random(self.config.random_seed).shuffle(rows)
        own = min(len(rows), self.config.train_rows or self.effort.train_rows or len(rows))
        held = min(MAX_VALIDATION_ROWS, max(1, round(own * VALIDATION_SHARE)))
        return Split(
            train=tuple(rows[held:own]),
            further=tuple(rows[own:]),
            valid=tuple(rows[:held]),
            dev=self.task.dev,
            made=augmented(
                rows[held:],
                self.effort.least_taught - len(rows[held:]),
                self.seed.tokenizer_json,
                self.seed.state[WORDS],
                self.config.random_seed,
            ),
        )

    def rows_digest(self) -> str:
        """Changes when any row of the task does."""
        rows = [[row.text, row.text_pair, row.label] for row in (*self.task.train, *self.task.dev)]
        return "sha256:" + hashlib.sha256(canonical_json(rows)).hexdigest()

    @cached_property
    def valid_task(self) -> Task:
        """The task as scored on the held-out rows."""
        return dataclasses.replace(self.task, dev=self.split.valid)

    @cached_property
    def outputs(self) -> int:
        return max(1, len(self.task.labels))

    @cached_property
    def sequence_length(self) -> int:
        return self.config.sequence_length or choose_sequence_length(
            self.seed.tokenizer_json, self.task
        )

    def encode(self, rows: tuple[Row, ...], tokenizer_json: bytes) -> Encoded:
        return encode(tokenizer_json, rows, self.sequence_length, self.task)

    def check_rows(self) -> tuple[Row, ...]:
        return self.split.valid[:CHECK_ROWS]

    def texts(self) -> list[str]:
        """Every string that is trained on, for counting word pieces.

        Held-out rows have no say: what a cut vocabulary takes from them is what it takes from
        any new text.
        """
        rows = self.split.train + self.split.further
        return [text for row in rows for text in (row.text, row.text_pair) if text]


@lru_cache(maxsize=1)
def bench_at(folder: Path, threads: int) -> Bench:
    """Of a run that began; a process keeps the data for its next task."""
    run = RunDirectory(folder)
    config = run.config()
    if known := run.stage("data"):  # finding the length means to encode every row
        config = dataclasses.replace(config, sequence_length=known["sequence_length"])
    rows = config.train_rows or effort(config.effort).distillation_rows
    task, seed = load_task(config.data, limit=rows), load_seed(config.seed)
    return Bench(config, task, seed, run, threads, ignore)
