"""How a model may be served: its queue, its memory, and requests computed together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Optional

from edgetran_protos.errors import UsageError

ENTRY = re.compile(r"(?:([A-Za-z0-9][\w.-]*)=)?(\d{1,4}):(\d{1,4}(?:\.\d+)?)")
QUEUE_LIMIT = 64  # requests waiting or running, a model
MOST_ROWS = 1024  # computed together; a request has no more either
LONGEST_DELAY_MS = 1000.0


@dataclass(frozen=True)
class ServingRule:
    """One model's. With `max_batch` 1 every request is computed alone, and at once."""

    queue_limit: int = QUEUE_LIMIT
    memory_bytes: Optional[int] = None  # of its process; None: what the system has
    max_batch: int = 1  # rows
    max_delay_s: float = 0.0  # how long the first of a batch waits for others


@dataclass(frozen=True)
class ServingRules:
    """By the name that a model serves under; `default` for all others."""

    default: ServingRule = field(default_factory=ServingRule)
    by_model: Mapping[str, ServingRule] = field(default_factory=dict)

    def of(self, model: str) -> ServingRule:
        return self.by_model.get(model, self.default)


def parse_rules(batch: str, queue_limit: int, memory_bytes: Optional[int]) -> ServingRules:
    """`batch`: "[MODEL=]ROWS:MS, ...", for all models where none is named. Raises UsageError."""
    default = ServingRule(queue_limit, memory_bytes)
    found: dict[str, ServingRule] = {}
    for entry in filter(None, (part.strip() for part in batch.split(","))):
        match = ENTRY.fullmatch(entry)
        if not match or not 1 <= int(match[2]) <= MOST_ROWS or float(match[3]) > LONGEST_DELAY_MS:
            raise UsageError(
                f"{entry!r} does not say what is computed together",
                hint=f"[MODEL=]ROWS:MS, e.g. home=8:2; at most {MOST_ROWS} rows, 1000 ms",
            )
        rows, delay_s = int(match[2]), float(match[3]) / 1e3
        found[match[1] or ""] = replace(default, max_batch=rows, max_delay_s=delay_s)
    return ServingRules(found.pop("", default), found)
