"""Which rows a step sees: a fresh seeded order an epoch, rows of like length together.

Rows are shuffled, cut into pools, sorted by length inside a pool and cut into
batches, whose order is shuffled again. A batch is as long as its longest row, so
little padding is computed. Everything follows from (seed, epoch) alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetran_host.tasks import Encoded

POOL_BATCHES = 16
LENGTH_STEP = 8  # lengths are rounded up to it, so that few shapes occur


@dataclass(frozen=True)
class Batch:
    """b rows, s positions: enough for the longest of them."""

    rows: NDArray[np.int64]  # (b,) positions in the data
    input_ids: Tensor  # (b, s)
    attention_mask: Tensor
    token_type_ids: Tensor
    labels: Tensor  # (b,), or (b, s) where every position has one

    def to(self, device: torch.device) -> Batch:
        """`rows` stay where they are."""
        if device.type == "cpu":
            return self
        return Batch(
            self.rows,
            self.input_ids.to(device, non_blocking=True),
            self.attention_mask.to(device, non_blocking=True),
            self.token_type_ids.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
        )

    def __getitem__(self, rows: slice) -> Batch:
        return Batch(
            self.rows[rows],
            self.input_ids[rows],
            self.attention_mask[rows],
            self.token_type_ids[rows],
            self.labels[rows],
        )


def steps_an_epoch(rows: int, batch_size: int) -> int:
    return math.ceil(rows / batch_size)


def epoch_order(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The rows of each batch; every row once."""
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    batches = []
    for at in range(0, len(order), pool):
        chunk = order[at : at + pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def take(data: Encoded, rows: NDArray[np.int64]) -> Batch:
    longest = int(data.attention_mask[rows].sum(1).max())
    width = min(data.input_ids.shape[1], math.ceil(longest / LENGTH_STEP) * LENGTH_STEP)
    return Batch(
        rows,
        torch.from_numpy(data.input_ids[rows, :width]),
        torch.from_numpy(data.attention_mask[rows, :width]),
        torch.from_numpy(data.token_type_ids[rows, :width]),
        torch.from_numpy(data.labels[rows]),
    )


def lengths_of(data: Encoded) -> NDArray[np.int64]:
    """(rows,) real tokens."""
    lengths: NDArray[np.int64] = data.attention_mask.sum(1)
    return lengths
