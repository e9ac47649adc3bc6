"""What a campaign measures where: fixed when it begins, so that it can be continued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.errors import ArchitectureError, DataError, UsageError

from edgetran_host.job.run_directory import write_atomically
from edgetran_host.measuring.profiling import Request
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.identity import architecture_id
from edgetran_host.space.sampling import sample

PLAN = "campaign.json"


@dataclass(frozen=True)
class Plan:
    targets: tuple[str, ...]
    designs: tuple[Architecture, ...]
    sequence_length: int
    request: Request
    attempts: int = 1  # at a verdict that may pass

    def to_json(self) -> dict[str, Any]:
        return {
            "targets": list(self.targets),
            "designs": [design.to_dict() for design in self.designs],
            "sequence_length": self.sequence_length,
            "request": asdict(self.request),
            "attempts": self.attempts,
        }


def designs_of(asked: str, seed: int) -> tuple[Architecture, ...]:
    """asked: how many to draw, or a JSON file of architectures or measured rows.

    Raises DataError, UsageError.
    """
    if asked.isdigit():
        drawn = sample(DesignSpace.flexibert2(), int(asked), np.random.default_rng(seed))
        return _distinct(drawn)
    try:
        raw = json.loads(Path(asked).read_bytes())
    except (OSError, ValueError) as exc:
        raise DataError(
            f"{asked} holds no designs: {exc}", hint="give a number, or a JSON list of designs"
        ) from exc
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise DataError(f"{asked} is no list of designs", hint='a design is {"l", "o", "h", "f"}')
    try:
        return _distinct([Architecture.from_dict(one.get("architecture", one)) for one in raw])
    except ArchitectureError as error:
        raise DataError(f"{asked}: {error}", hint=error.hint) from error


def settle(plan: Plan, folder: Path) -> None:
    """Writes the plan, or checks that it is the one the folder was begun with."""
    if not plan.designs or not plan.targets:
        raise UsageError("nothing to measure", hint="give a target and at least one design")
    path = folder / PLAN
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(plan.to_json(), indent=1).encode())
        return
    begun = json.loads(path.read_bytes())
    # Boards may join or leave: a cell belongs to its board alone.
    changed = [
        key for key, value in plan.to_json().items() if key != "targets" and begun[key] != value
    ]
    if changed:
        raise UsageError(
            f"{folder} was begun with other {', '.join(changed)}",
            hint="repeat its command, or give another --campaign",
        )


def _distinct(designs: Sequence[Architecture]) -> tuple[Architecture, ...]:
    return tuple({architecture_id(design): design for design in designs}.values())
