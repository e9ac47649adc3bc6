"""One truth, task, method and seed: run once, kept as plain arrays, never paid for twice.

A file holds n trials in their order: measured, exact and re-measured outcomes (columns as in
OUTPUTS), the board's number, what each cost in trainings, and CPU seconds of the method.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetran_host.cosearch.goal import COSTS
from edgetran_host.cosearch.outcome import Outcome
from search_rivals import FRONT_METHODS, METHODS
from search_tasks import Task, task_of

REPEATS = 2  # further measurements of a finalist
OUTPUTS = ("score", *COSTS)


@dataclass(frozen=True)
class Cell:
    truth: str  # a word, or a file
    task: str
    method: str
    seed: int

    def path(self, folder: Path) -> Path:
        task = self.task.replace(":", "_")
        return folder / Path(self.truth).stem / task / self.method / f"{self.seed}.npz"


@dataclass(frozen=True)
class Trace:
    measured: np.ndarray  # (n, 5) as OUTPUTS
    exact: np.ndarray  # (n, 5)
    repeats: np.ndarray  # (n, REPEATS, 5)
    places: np.ndarray  # (n,) of the task's space
    costs: np.ndarray  # (n,) in full trainings
    seconds: float  # of CPU, the oracle's included
    best: str  # the best pair of all by exact value, as JSON


def run(cell: Cell, folder: Path, budget: float) -> None:
    """Does nothing where the cell is kept already."""
    task = task_of(cell.truth, cell.task)
    if kept(cell, folder, task, budget) is not None:
        return
    session = task.session(budget, cell.seed)
    method = (FRONT_METHODS if task.front else METHODS)[cell.method]
    started = time.process_time()
    method(session)
    seconds = time.process_time() - started
    pairs = [trial.pair for trial in session.trials]
    rng = np.random.default_rng([cell.seed, 3])
    best = pairs[int(task.exact(pairs).argmax())]
    arrays = {
        "measured": _rows([trial.outcome for trial in session.trials]),
        "exact": _rows(task.oracle.exact(pairs)),
        "repeats": np.stack([_rows(task.oracle.measure(pairs, rng)) for _ in range(REPEATS)], 1),
        "places": np.array([task.space.places.index(pair.place) for pair in pairs]),
        "costs": np.array([trial.training_cost for trial in session.trials]),
        "seconds": np.array(seconds),
        "best": np.array(
            json.dumps({"board": best.place.board, "architecture": best.architecture.to_dict()})
        ),
        "digest": np.array(task.digest),
        "budget": np.array(budget),
    }
    path = cell.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    part.replace(path)


def kept(cell: Cell, folder: Path, task: Task, budget: float = 0) -> Trace | None:
    """None: not run yet, of another truth, or with less of a budget."""
    path = cell.path(folder)
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        if str(file["digest"]) != task.digest or file["budget"] < budget:
            return None
        arrays = {name: file[name] for name in ("measured", "exact", "repeats", "places", "costs")}
        return Trace(**arrays, seconds=float(file["seconds"]), best=str(file["best"]))


def _rows(outcomes: list[Outcome]) -> np.ndarray:
    return np.array([[getattr(one, name) for name in OUTPUTS] for one in outcomes], dtype=float)
