"""What a rollout is: a bundle, its waves and when they stop. Settled once, kept in the ledger."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.fleet.conditions import Condition, condition
from edgetran_host.fleet.delivered import FIGURES
from edgetran_host.fleet.waves import DEFAULT

ROLLBACK, ROLLBACK_ALL, KEEP = "rollback", "rollback-all", "keep"
ON_HALT = (ROLLBACK, ROLLBACK_ALL, KEEP)
BUDGET = re.compile(r"[0-9]+(\.[0-9]+)?%?")


@dataclass(frozen=True)
class Plan:
    """Everything that decides how a rollout goes, the boards aside."""

    bundle: str  # path
    digest: str
    model: str
    waves: str = DEFAULT
    stop_if: tuple[str, ...] = ()
    max_failures: str = "0"  # a wave: boards, or a share of them
    on_halt: str = ROLLBACK
    slack: float = 0.1  # by which a figure may miss what the bundle promises, as a share
    canary: str = ""  # a task whose dev rows are asked of every board
    canary_rows: int = 0
    measured: bool = True  # False: neither times nor energy are looked at
    soak_s: float = 0.0  # between a wave's last board and the look back at all of them
    allow_older: bool = False

    def __post_init__(self) -> None:
        self.conditions()
        self.budget(1)
        if self.on_halt not in ON_HALT:
            raise UsageError(f"{self.on_halt!r} is none of {', '.join(ON_HALT)}")

    def conditions(self) -> list[Condition]:
        """Raises UsageError, also for what this plan never comes to know."""
        found = [condition(text) for text in self.stop_if]
        for one in found:
            if one.figure == "accuracy" and not self.canary:
                raise UsageError(f"{one.text}: nothing is asked", hint="add --canary TASK")
            if one.figure in FIGURES and not self.measured:
                raise UsageError(f"{one.text}: nothing is measured", hint="without --no-measure")
        return found

    def budget(self, boards: int) -> int:
        """How many boards of a wave of so many may fail. Raises UsageError."""
        if not BUDGET.fullmatch(self.max_failures):
            raise UsageError(
                f"{self.max_failures!r} is no number of boards", hint="e.g. 2, or 5% of a wave"
            )
        if self.max_failures.endswith("%"):
            return math.floor(boards * float(self.max_failures[:-1]) / 100)
        return int(float(self.max_failures))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Plan:
        return Plan(**{**raw, "stop_if": tuple(raw["stop_if"])})


@dataclass(frozen=True)
class Pace:
    """How hard a host tries; may differ from one command to the next."""

    at_once: int = 16  # boards under way
    patience_s: float = 60.0  # for a board that does not answer, or that another works with
    limit_s: float = 7200.0  # of one try with one board, whose parts have limits of their own
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
