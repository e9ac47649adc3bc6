"""One piece of the table of docs/results.md: what it is called, and where it is kept.

A cell is one task with one random seed; rivals and ablations begin from a cell's run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_host.job.run_directory import write_atomically

CELL, SEARCHED, SEED, REFINED = "edgetran", "searched", "seed-fp32", "refined"
TARGET, EFFORT, MAX_SIZE_BYTES, PREFER = "nano", "standard", 8.4e6, "accuracy"


Found = tuple[dict[str, Any], dict[str, np.ndarray]]  # of its rows; of what its graphs say


@dataclass(frozen=True)
class Part:
    """One piece of work; all but the cell itself begin from the cell's run."""

    task: str
    seed: int
    way: str = CELL

    @property
    def name(self) -> str:
        return f"{self.task}-{self.seed}-{self.way.replace(' ', '-')}"

    @property
    def cell(self) -> Part:
        return Part(self.task, self.seed)


def kept(folder: Path, part: Part) -> Path:
    return folder / "parts" / f"{part.name}.json"


def keep(folder: Path, part: Part, found: dict[str, Any], outputs: dict[str, np.ndarray]) -> None:
    path = kept(folder, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path.with_suffix(".npz"), **outputs)
    write_atomically(path, json.dumps({**asdict(part), **found}, indent=1).encode())
