"""What a user asked for, complete and comparable: equal requests share a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from edgetran_protos.bundle import canonical_json


@dataclass(frozen=True)
class Budget:
    """Hard limits on the target board; None means that the default rule applies."""

    max_latency_s: float | None = None  # p50 of one inference
    max_energy_j: float | None = None  # of one inference
    max_size_bytes: float | None = None  # of the deployed graph and tokenizer
    max_power_w: float | None = None  # peak


@dataclass(frozen=True)
class JobConfig:
    """One deploy job. `threads` is left out of the identity: it changes no decision."""

    data: str
    seed: str
    target: str
    effort: str
    budget: Budget = field(default_factory=Budget)
    sequence_length: int | None = None
    random_seed: int = 0
    train_rows: int | None = None
    model: str = ""  # name to serve under; empty: the task's name
    max_accuracy_cost: float | None = None  # of the score, that a served variant may lose
    prefer: str = "balance"  # of search.objective.PREFERENCES

    def identity(self) -> str:
        """Eight hex digits that name the request; what came later counts where it was asked."""
        told = asdict(self)
        told = {name: told[name] for name in told if name not in LATER or told[name] != LATER[name]}
        return hashlib.sha256(canonical_json(told)).hexdigest()[:8]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> JobConfig:
        return JobConfig(**{**raw, "budget": Budget(**raw["budget"])})


LATER = {"prefer": JobConfig.prefer}


def pretty(config: JobConfig) -> str:
    return json.dumps(config.to_json(), indent=2, sort_keys=True)
