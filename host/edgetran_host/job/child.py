"""Turns a design into a model: shrink the teacher, trim its vocabulary, distil."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from edgetran.progress import Progress

from edgetran_host.job.bench import Bench
from edgetran_host.job.run_directory import read_json, write_atomically
from edgetran_host.job.teacher import answers, targets
from edgetran_host.models.factorising import factorise_embedding
from edgetran_host.models.text_model import TextModel
from edgetran_host.search.seeded_space import Design, SeededSpace, architecture, keep_layers
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.tasks import REGRESSION, Encoded, Row, Task
from edgetran_host.training import Recipe, Targets, distil, fine_tune
from edgetran_host.transfer import (
    Saliency,
    measure_saliency,
    plan_shrink,
    salient_map,
    shrink,
    transfer,
)
from edgetran_host.transfer.saliency import Loss, keep_saliency, read_saliency
from edgetran_host.vocabulary import can_trim, piece_counts, trim_tokenizer

SALIENCY_ROWS = 256
SALIENCY_BATCH = 32


@dataclass(frozen=True)
class Child:
    """A shrunk model, its tokenizer, and which of the teacher's layers it kept."""

    model: TextModel
    tokenizer_json: bytes
    layers: tuple[int, ...]


class Nursery:
    """Makes children of one teacher; saliency and vocabularies are worked out once."""

    def __init__(self, work: Bench, teacher: TextModel, tokenizer_json: bytes) -> None:
        self._work = work
        self._teacher = teacher
        self._tokenizer_json = tokenizer_json
        self.trimmed = lru_cache(maxsize=None)(self._trim)
        self._kept_saliency: Saliency | None = None
        self._targets: Targets | None = None

    @property
    def teacher(self) -> TextModel:
        return self._teacher

    def space(self) -> SeededSpace:
        """The designs around the teacher."""
        return SeededSpace.around(
            self._teacher.config,
            trimmable=can_trim(self._tokenizer_json),
            prefer=self._work.config.prefer,
        )

    def child(self, design: Design) -> Child:
        """The design with the teacher's weights, not trained yet."""
        child = self.cut(architecture(self._teacher.config, design), design.vocabulary)
        if design.table is None:
            return child
        pieces = child.model.config.vocab_size
        counts = piece_counts(child.tokenizer_json, self._work.texts(), pieces)
        narrower = factorise_embedding(child.model, design.table, counts)
        return dataclasses.replace(child, model=narrower.model)

    def cut(
        self,
        shape: Architecture,
        vocabulary: int | None,
        *,
        by: Saliency | None = None,
        dropout: float = 0.0,
    ) -> Child:
        """Any design of the teacher's hidden and head size; heads of another kind are new.

        by: what stays; default: the teacher's saliency. dropout: none, since what a teacher says
        of many rows is learnt better without.
        """
        parent, saliency = self._teacher.config, by or self.teacher_saliency()
        tokenizer_json, tokens = self._tokenizer_json, None
        if vocabulary is not None:
            tokenizer_json, tokens = self.trimmed(vocabulary)
        kept = keep_layers(len(parent.architecture.layers), len(shape.layers))
        config = dataclasses.replace(
            parent,
            architecture=shape,
            dropout=dropout,
            vocab_size=len(tokens) if tokens else parent.vocab_size,
            pad_id=tokens.index(parent.pad_id) if tokens else parent.pad_id,
        )
        if all(_is_part(a, parent.architecture.layers[b]) for a, b in zip(shape.layers, kept)):
            plan = plan_shrink(parent, shape, kept, saliency, tokens=tokens)
            return Child(shrink(self._teacher, plan, config), tokenizer_json, kept)
        found = salient_map(parent.architecture, shape, saliency, kept, tokens)
        return Child(transfer(self._teacher, found, config), tokenizer_json, kept)

    def distil(
        self,
        child: Child,
        targets: Targets | None,
        recipe: Recipe,
        rows: int,
        checkpoint: Path,
        stage: str,
        start: int = 0,
    ) -> None:
        """As `teach`."""
        teach(self._work, child, targets, recipe, rows, checkpoint, stage, start)

    def targets(self) -> Targets:
        """What the teacher says of every row; worked out once a run."""
        if self._targets is None:
            self._targets = targets(self._work, self._teacher, self._tokenizer_json)
        return self._targets

    def answers(self) -> Targets:
        """What the teacher says of the held-out rows."""
        return answers(self._work, self._teacher, self._tokenizer_json)

    def teacher_saliency(self) -> Saliency:
        """Measured once a run, and kept beside the teacher."""
        if self._kept_saliency is None:
            file = self._work.run.folder("seed") / "saliency.safetensors"
            if not file.exists():
                train = self._work.split.train
                keep_saliency(self.saliency(self._teacher, self._tokenizer_json, train), file)
            self._kept_saliency = read_saliency(file)
        return self._kept_saliency

    def saliency(self, model: TextModel, tokenizer_json: bytes, rows: Sequence[Row]) -> Saliency:
        """By the first SALIENCY_ROWS of `rows`."""
        data = self._work.encode(tuple(rows[:SALIENCY_ROWS]), tokenizer_json)
        return measure_saliency(model, _batches(data), row_loss(self._work.task))

    def _trim(self, size: int) -> tuple[bytes, tuple[int, ...]]:
        """Chosen once a run."""
        file = self._work.run.folder("seed") / f"vocabulary-{size}.json"
        if not file.exists():
            made, tokens = trim_tokenizer(self._tokenizer_json, self._work.texts(), size)
            kept = {"tokens": tokens, "tokenizer": made.decode()}
            write_atomically(file, json.dumps(kept, ensure_ascii=False).encode())
        raw = read_json(file)
        return raw["tokenizer"].encode(), tuple(raw["tokens"])


def _is_part(layer: Layer, whole: Layer) -> bool:
    """Heads and matrices of a stack that the parent's layer has, no wider than there."""
    widths = zip(layer.feed_forward, whole.feed_forward)
    return (
        not Counter(layer.heads) - Counter(whole.heads)
        and len(layer.feed_forward) == len(whole.feed_forward)
        and all(one <= other for one, other in widths)
    )


def teach(
    work: Bench,
    child: Child,
    targets: Targets | None,
    recipe: Recipe,
    rows: int,
    checkpoint: Path,
    stage: str,
    start: int = 0,
) -> None:
    """Trains the child in place on `rows` rows that the teacher speaks of, from `start` on.

    Behind the last row comes the first one again. targets: None: the labels
    alone teach, of rows that nobody made.
    """
    split = work.split
    taught = split.taught if targets is not None else split.train + split.further
    chosen = np.arange(start, start + min(rows, len(taught))) % len(taught)
    train = tuple(taught[at] for at in chosen)

    def renamed(event: Progress) -> None:
        work.on_progress(dataclasses.replace(event, stage=stage))

    data, task = work.encode(train, child.tokenizer_json), work.task
    if targets is None:
        fine_tune(
            child.model,
            data,
            task,
            recipe,
            checkpoint=checkpoint,
            threads=work.threads,
            on_progress=renamed,
        )
        return
    distil(
        child.model,
        data,
        Targets(targets.logits[chosen], chosen >= len(taught) - len(split.made)),
        task,
        recipe,
        checkpoint=checkpoint,
        threads=work.threads,
        on_progress=renamed,
    )


def row_loss(task: Task) -> Loss:
    """Of logits and labels: squared error for a regression, else cross-entropy."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if task.kind == REGRESSION:
            return torch.nn.functional.mse_loss(logits[:, 0], labels.float())
        return torch.nn.functional.cross_entropy(logits, labels)

    return loss


def _batches(data: Encoded) -> list[tuple[torch.Tensor, ...]]:
    """(input_ids, attention_mask, token_type_ids, labels) a batch."""
    arrays = (data.input_ids, data.attention_mask, data.token_type_ids, data.labels)
    return [
        tuple(torch.from_numpy(array[at : at + SALIENCY_BATCH]) for array in arrays)
        for at in range(0, len(data.labels), SALIENCY_BATCH)
    ]
