"""Notices that a run went wrong: its loss rose far and stayed there.

The running mean of the loss is compared with the lowest it ever was. Far above means
more than twice that, and over half of the way back to where the run began. Where it
began is the mean of its first steps: one easy batch says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgetran_protos.errors import DataError

FIRST_STEPS = 20  # their mean is the first level
MEMORY = 0.95  # of the running mean, a step
FACTOR = 2.0  # times the lowest running mean
WAY_BACK = 0.5  # share of what had been gained
PATIENCE_STEPS = 100  # so long in a row; a hard batch or two are no divergence


class Diverged(DataError):
    """Its hint says what may help; the weights are worth nothing."""


@dataclass
class LossLevel:
    """The loss as it runs; its fields keep it through an interruption."""

    running: float = 0.0  # plain mean of the first steps, then the running one
    first: float = 0.0
    lowest: float = 0.0
    steps: int = 0
    high_steps: int = 0

    def update(self, loss: float) -> None:
        self.steps += 1
        share = max(1 / self.steps, 1 - MEMORY)
        self.running += share * (loss - self.running)
        if self.steps <= FIRST_STEPS:
            self.first = self.lowest = self.running
            return
        self.lowest = min(self.lowest, self.running)
        limit = max(FACTOR * self.lowest, self.lowest + WAY_BACK * (self.first - self.lowest))
        self.high_steps = self.high_steps + 1 if self.running > limit else 0

    @property
    def diverged(self) -> bool:
        return self.high_steps >= PATIENCE_STEPS
