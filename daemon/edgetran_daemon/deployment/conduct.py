"""How a served model has behaved: its answers, failures, deaths and times."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

KEPT_TIMES = 1000


@dataclass
class Conduct:
    """Counts from nothing; a watch begins with a new one."""

    answered: int = 0  # requests
    failed: int = 0  # by the model's own fault; what it refuses is the caller's
    deaths: int = 0  # of its worker
    single_row_s: "deque[float]" = field(default_factory=lambda: deque(maxlen=KEPT_TIMES))

    def answer(self, rows: int, run_s: float) -> None:
        self.answered += 1
        if rows == 1:  # what a card's promises are about
            self.single_row_s.append(run_s)

    def fail(self) -> None:
        self.failed += 1

    def die(self) -> None:
        self.deaths += 1
