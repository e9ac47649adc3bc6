"""Early stopping: remembers the weights that did best on held-out rows, and when to give up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class BestWeights:
    """`patience` evaluations in a row without a lower loss end the run; 0: they never do."""

    patience: int
    loss: float = math.inf
    step: int = 0  # after which `weights` were taken
    failures: int = 0  # evaluations since
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, loss: float, step: int, module: nn.Module) -> None:
        if loss < self.loss:
            self.loss, self.step, self.failures = loss, step, 0
            self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}
        else:
            self.failures += 1

    @property
    def over(self) -> bool:
        return 0 < self.patience <= self.failures

    def numbers(self) -> Mapping[str, float]:
        """All but the weights."""
        return {"loss": self.loss, "step": self.step, "failures": self.failures}
