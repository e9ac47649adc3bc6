"""How models are served: how many requests wait, which share a run, what a process may take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

QUEUE_LIMIT = 64  # requests waiting or running, a model
MOST_ROWS = 1024  # of one run
MOST_DELAY_MS = 10_000.0
ALL = ""  # models that are not named


@dataclass(frozen=True)
class BatchRule:
    """Which requests share one run of a graph."""

    rows: int = 1  # at most; 1: each request runs by itself
    delay_s: float = 0.0  # how long a request waits for others before an idle model

    def __str__(self) -> str:
        return f"{self.rows}:{1e3 * self.delay_s:g}"


@dataclass(frozen=True)
class Batching:
    """The rule of each model; a text has `ROWS[:MS]` for all and `MODEL=ROWS[:MS]` for one."""

    rules: Mapping[str, BatchRule] = field(default_factory=dict)

    @staticmethod
    def of_text(text: str) -> Batching:
        """Raises ValueError."""
        rules: dict[str, BatchRule] = {}
        for part in text.split():
            model, named, rule = part.rpartition("=")
            if model in rules or (named and not model):
                raise ValueError(f"{part!r} names no model, or one named before")
            rules[model] = _rule(rule)
        return Batching(rules)

    def of(self, model: str) -> BatchRule:
        return self.rules.get(model, self.rules.get(ALL, BatchRule()))

    def __str__(self) -> str:
        return " ".join(f"{m}={rule}" if m else str(rule) for m, rule in self.rules.items())


def _rule(text: str) -> BatchRule:
    found = re.fullmatch(r"(\d+)(?::(\d+\.?\d*))?", text)
    rows, delay_ms = (int(found[1]), float(found[2] or 0)) if found else (0, 0.0)
    if not 1 <= rows <= MOST_ROWS or delay_ms > MOST_DELAY_MS:
        raise ValueError(f"{text!r} is not a number of rows, and milliseconds")
    return BatchRule(rows, delay_ms / 1e3)


@dataclass(frozen=True)
class ServingRule:
    """For each model by itself."""

    queue_limit: int = QUEUE_LIMIT
    memory_bytes: Optional[int] = None  # of its process; None: what the system has
    batching: Batching = field(default_factory=Batching)
