"""How models are served: how many requests may wait, and what a process may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

QUEUE_LIMIT = 64  # requests waiting or running, a model


@dataclass(frozen=True)
class ServingRule:
    """For each model by itself."""

    queue_limit: int = QUEUE_LIMIT
    memory_bytes: Optional[int] = None  # of its process; None: what the system has
