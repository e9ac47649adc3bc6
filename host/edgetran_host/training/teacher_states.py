"""The hidden states of a teacher, row by row, for a student to resemble.

They are computed once, before the first step, and kept as float16 where they fit
CACHE_BYTES: a forward pass of the teacher costs about as much as a whole step of a small
student, and most runs see each row several times. Where they do not fit, the teacher
runs along with every batch. Which of the two follows from sizes alone, so that an
interrupted run goes on as it began.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from edgetran.progress import OnProgress, Progress, ignore
from numpy.typing import NDArray
from torch import Tensor

from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Encoded
from edgetran_host.training.batches import Batch, lengths_of, take
from edgetran_host.training.device import compute_device
from edgetran_host.training.precision import autocast

CACHE_BYTES = 1 << 30  # a host with 8 GiB has room for it beside the training
FLOAT16_BYTES = 2
FILL_ROWS = 64  # computed together


@dataclass(frozen=True)
class Guide:
    """A teacher whose inside guides the student, layer by layer."""

    teacher: TextModel
    layers: tuple[int, ...]  # of the teacher: whose output each of the student's should resemble
    tokens: tuple[int, ...] | None = None  # the teacher's id of each student's; None: the same


class TeacherStates:
    """Answers with (b, s, h) a layer for the rows of a batch."""

    def __init__(
        self,
        guide: Guide,
        data: Encoded,
        layers: tuple[int, ...],
        *,
        cache_bytes: int = CACHE_BYTES,
        on_progress: OnProgress = ignore,
    ) -> None:
        """`data` in the student's ids: the teacher reads the student's own pieces, so that
        position i means the same to both."""
        ids = data.input_ids
        if guide.tokens is not None:
            ids = np.asarray(guide.tokens, np.int64)[ids]
        self._device = compute_device()
        self._teacher, self._layers = guide.teacher.eval(), layers
        if self._device.type != "cpu":  # the guide's own rests on the CPU
            self._teacher = copy.deepcopy(self._teacher).to(self._device)
        self._data = dataclasses.replace(data, input_ids=ids)
        lengths = lengths_of(data)
        self._starts = np.concatenate([[0], np.cumsum(lengths)])  # of each row in the cache
        shapes = guide.teacher.config.architecture.layers
        widths = [shapes[min(layer + 1, len(shapes) - 1)].hidden for layer in layers]
        self._cache: list[Tensor] | None = None
        if int(lengths.sum()) * sum(widths) * FLOAT16_BYTES <= cache_bytes:
            self._cache = self._fill(np.argsort(lengths, kind="stable"), on_progress)

    @property
    def cached(self) -> bool:
        return self._cache is not None

    def of(self, batch: Batch) -> list[Tensor]:
        """Padded positions hold anything."""
        if self._cache is None:
            return self._compute(take(self._data, batch.rows), batch.input_ids.shape[1])
        first = torch.from_numpy(self._starts[batch.rows])[:, None]
        places = (first + torch.arange(batch.input_ids.shape[1])).clamp(max=len(self._cache[0]) - 1)
        places = places.to(self._device)
        return [states[places].float() for states in self._cache]

    def _fill(self, order: NDArray[np.int64], on_progress: OnProgress) -> list[Tensor]:
        cache: list[Tensor] = []
        for at in range(0, len(order), FILL_ROWS):
            batch = take(self._data, order[at : at + FILL_ROWS])
            real = batch.attention_mask.bool()
            first = torch.from_numpy(self._starts[batch.rows])[:, None]
            places = (first + torch.arange(real.shape[1]))[real].to(self._device)
            real = real.to(self._device)
            found = self._compute(batch, real.shape[1])
            if not cache:
                shapes = [(int(self._starts[-1]), states.shape[2]) for states in found]
                cache = [
                    torch.empty(shape, dtype=torch.float16, device=self._device) for shape in shapes
                ]
            for kept, states in zip(cache, found):
                kept[places] = states[real].half()
            on_progress(Progress("teaching", at + len(batch.rows), len(order)))
        return cache

    @torch.no_grad()
    def _compute(self, batch: Batch, width: int) -> list[Tensor]:
        """(b, width, h) a layer; a part of a batch may be shorter than the batch is."""
        batch = batch.to(self._device)
        with autocast(self._device):
            states = self._teacher.hidden_states(
                batch.input_ids, batch.attention_mask, batch.token_type_ids, ragged=True
            )
        missing = (0, 0, 0, width - batch.input_ids.shape[1])
        return [
            torch.nn.functional.pad(states[layer + 1].float(), missing) for layer in self._layers
        ]
