"""What each step learns from: windows in a shuffled order, and the tokens to guess in them.

b rows, L positions, k = round(0.15 * (L - frame)) tokens asked for in every row, so that
all steps have the same shapes. Everything follows from (seed, step) alone: each process
makes the batch of all of them and takes its rows. Shares: Devlin et al. 2019.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgetran_host.pretraining.corpus import Ids, Windows
from edgetran_host.pretraining.masking import IGNORED, MASKED, REPLACED, Masking
from edgetran_host.pretraining.shuffling import shuffled

AHEAD = 3  # batches made while the device computes
HELD_OUT_KEY = 1 << 32  # beyond any step


@dataclass(frozen=True)
class Asked:
    """Rows with holes, and what belongs there."""

    ids: Tensor  # (b, L)
    places: Tensor  # (b, k) in their row
    labels: Tensor  # (b, k) the token, IGNORED where a row has fewer to ask for
    counted: int  # labels that are not IGNORED, in the whole batch that this is a part of

    def __getitem__(self, rows: slice) -> Asked:
        return Asked(self.ids[rows], self.places[rows], self.labels[rows], self.counted)

    def pinned(self) -> Asked:
        """In memory that a GPU reads by itself."""
        ids, places, labels = (each.pin_memory() for each in self.tensors)
        return Asked(ids, places, labels, self.counted)

    def to(self, device: torch.device) -> Asked:
        ids, places, labels = (each.to(device, non_blocking=True) for each in self.tensors)
        return Asked(ids, places, labels, self.counted)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.ids, self.places, self.labels


def ask(ids: Ids, count: int, masking: Masking, key: int) -> Asked:
    """ids (b, L), count: k. Which tokens are asked for follows from masking.seed and `key`."""
    rng = np.random.default_rng((masking.seed, key))
    candidates = masking.ordinary[ids]
    lot = rng.random(ids.shape, np.float32)
    lot[~candidates] = 2.0  # behind all others
    places = np.sort(np.argpartition(lot, count - 1, axis=1)[:, :count], axis=1)
    asked = np.take_along_axis(candidates, places, axis=1)
    tokens = np.take_along_axis(ids, places, axis=1)
    fate = rng.random(places.shape, np.float32)
    others = rng.choice(np.flatnonzero(masking.ordinary), places.shape)
    shown = np.where(fate < MASKED, masking.mask_id, tokens)
    shown = np.where((fate >= MASKED) & (fate < MASKED + REPLACED), others, shown)
    holed = ids.copy()
    np.put_along_axis(holed, places, np.where(asked, shown, tokens), axis=1)
    labels = np.where(asked, tokens, IGNORED)
    return Asked(
        torch.from_numpy(holed),
        torch.from_numpy(places),
        torch.from_numpy(labels),
        int(asked.sum()),
    )


@dataclass(frozen=True)
class Batches:
    """Those of a whole run, by step."""

    windows: Windows
    masking: Masking
    size: int
    seed: int

    def of(self, step: int) -> Asked:
        """Every window once before any comes again, in another order each time."""
        count = len(self.windows)
        places = np.arange(step * self.size, (step + 1) * self.size)
        found = np.empty_like(places)
        for turn in np.unique(places // count):
            here = places // count == turn
            found[here] = shuffled(places[here] % count, count, self.seed, int(turn))
        return ask(self.windows.rows(found), self.windows.asked, self.masking, step)

    def stream(self, first: int, mine: slice, device: torch.device) -> Generator[Asked, None, None]:
        """From step `first` on, made ahead in a thread; `mine` are this process' rows."""

        def make(step: int) -> Asked:
            batch = self.of(step)[mine]
            return batch.pinned() if device.type == "cuda" else batch

        with ThreadPoolExecutor(1, "batches") as pool:
            waiting: deque[Future[Asked]] = deque()
            step = first
            try:
                while True:
                    while len(waiting) < AHEAD:
                        waiting.append(pool.submit(make, step))
                        step += 1
                    yield waiting.popleft().result().to(device)
            finally:
                for future in waiting:
                    future.cancel()


def held_out_batches(windows: Windows, masking: Masking, size: int) -> list[Asked]:
    """All held-out rows, asked for the same tokens every time."""
    rows = windows.rows(np.arange(len(windows)))
    asked = ask(rows, windows.asked, masking, HELD_OUT_KEY)
    return [asked[at : at + size] for at in range(0, len(windows), size)]
