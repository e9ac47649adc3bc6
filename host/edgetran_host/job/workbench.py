"""What every stage of one deploy job shares: the bench that it trains on, and the boards."""

from __future__ import annotations

from dataclasses import dataclass

from edgetran import Board
from edgetran_protos.bundle import model_name

from edgetran_host.job.bench import Bench


@dataclass
class Workbench(Bench):
    board: Board  # the target
    reference: Board  # this machine, measured for real
    allow_older: bool  # to deploy a bundle older than what the board committed

    @property
    def served_name(self) -> str:
        """What the board calls the model: the user's name for it, else the task's."""
        return self.config.model or model_name(self.task.name)
