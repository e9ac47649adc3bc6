"""Trains the three networks on what is known, a row at a time, and adds up what they say.

Source: the method's specification, section 7.1.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import nn

from edgetran_host.cosearch.legacy.networks import Aleatoric, Student, Teacher

EPOCHS, LEAST_EPOCHS, PATIENCE = 200, 10, 7
TRAINED = 4 / 5  # of the rows, anew each epoch; the others say when to stop
PASSES = 10  # of the teacher, whose deviation the student learns
NOISE_WEIGHT = 10.0  # of the squared error against the logarithm of its variance
DOUBT = 0.5  # of the deviation and the variance, taken off the mean

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Designs (n, d), places (n, p), targets (n,) -> the mean loss."""


class Surrogate:
    """Lower is better. Weights stay from one fit to the next."""

    def __init__(self, design: int, places: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.aleatoric = Aleatoric(design, places)
            self.teacher = Teacher(design, places)
            self.student = Student(design, places)

    def fit(self, design: torch.Tensor, place: torch.Tensor, y: torch.Tensor, seed: int) -> None:
        """design (n, d), place (n, p) one-hot, y (n,) within 0 and 1."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rows = (design, place, y)
            adam = torch.optim.AdamW(self.aleatoric.parameters(), lr=5e-5)
            _train(self.aleatoric, adam, self._likelihood, rows)
            adam = torch.optim.AdamW(self.teacher.parameters(), lr=2e-3)
            _train(self.teacher, adam, self._error, rows)
            sgd = torch.optim.SGD(self.student.parameters(), lr=2e-3)
            _train(self.student, sgd, self._scatter, rows)

    def acquisition(self, design: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """(n,) what a query minimises: the mean less half of what is uncertain about it."""
        mean, variance = self.aleatoric(design, place)
        found: torch.Tensor = mean - DOUBT * (self.student(design, place) + variance)
        return found

    def _likelihood(
        self, design: torch.Tensor, place: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        mean, variance = self.aleatoric(design, place)
        each = NOISE_WEIGHT * (mean - y) ** 2 / variance + torch.log(variance)
        found: torch.Tensor = 0.5 * each.mean()
        return found

    def _error(self, design: torch.Tensor, place: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(self.teacher(design, place), y)

    def _scatter(self, design: torch.Tensor, place: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            passes = self.teacher(design.repeat(PASSES, 1), place.repeat(PASSES, 1))
        target = passes.reshape(PASSES, len(design)).std(dim=0)
        return nn.functional.mse_loss(self.student(design, place), target)


Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, rows: Rows) -> None:
    """Until the held-out loss no longer falls; keeps the weights of its least."""
    count = len(rows[0])
    trained = max(1, round(TRAINED * count))
    least, best, waited = float("inf"), copy.deepcopy(net.state_dict()), 0
    for epoch in range(EPOCHS):
        order = torch.randperm(count)
        for at in order[:trained].tolist():
            optimizer.zero_grad()
            torch.autograd.backward(loss(*_rows(rows, [at])))
            optimizer.step()
        held = order[trained:].tolist() or order.tolist()
        with torch.no_grad():
            found = float(loss(*_rows(rows, held)))
        waited = 0 if found < least else waited + 1
        if found < least:
            least, best = found, copy.deepcopy(net.state_dict())
        if waited > PATIENCE and epoch >= LEAST_EPOCHS:
            break
    net.load_state_dict(best)


def _rows(rows: Rows, at: Iterable[int]) -> Rows:
    chosen = list(at)
    return rows[0][chosen], rows[1][chosen], rows[2][chosen]
