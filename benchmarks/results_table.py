"""The table behind docs/results.md, from the parts that are finished, and runs under way."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_host.job.run_directory import write_atomically
from edgetran_host.tasks.scoring import METRICS, PARTS
from edgetran_host.training import recipes
from results_part import (
    CELL,
    EFFORT,
    MAX_SIZE_BYTES,
    PREFER,
    REFINED,
    SEARCHED,
    SEED,
    TARGET,
    Part,
    kept,
)

METHOD = 3  # counts what changed a cell but is no part of its settings; others are not kept
RESAMPLES = 1_000
KEPT = ("board", "modelled", "verdict", "reasons", "latency_p50_s", "energy_j", "peak_power_w")


def write_table(folder: Path, table: Path) -> None:
    """What every cell's run has by now, and the parts that are finished.

    What the table has of other folders stays in it, if it was made in the same way.
    """
    cells = [cell_figures(folder, run) for run in sorted(folder.glob("runs/*"))]
    others = [json.loads(file.read_text()) for file in sorted(folder.glob("parts/*.json"))]
    way = {
        "format": "edgetran-results",
        "version": 1,
        "method": METHOD,
        "target": TARGET,
        "effort": asdict(recipes.effort(EFFORT)),
        "max_size_bytes": MAX_SIZE_BYTES,
        "prefer": PREFER,
    }
    parts = [
        lean_part(part) | {"differences": beside_the_cell(folder, part)}
        for part in others
        if part["way"] not in (CELL, SEARCHED)
    ]
    before = json.loads(table.read_text()) if table.exists() else {}
    if {key: before.get(key) for key in way} != way:
        before = {}
    raw = way | {
        "cells": with_others([cell for cell in cells if cell], before.get("cells", [])),
        "parts": with_others(parts, before.get("parts", [])),
    }
    lines = json.dumps(raw, separators=(",", ":")).replace('{"task"', '\n {"task"')
    write_atomically(table, (lines + "\n").encode())
    print(f"{len(raw['cells'])} cells, {len(raw['parts'])} other parts")


def with_others(own: list[dict[str, Any]], kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In a fixed order; of two the one that came farther, and so has more figures."""
    by_progress = sorted([*kept, *own], key=len)
    found = {(one["task"], one["seed"], one.get("way", CELL)): one for one in by_progress}
    return [found[key] for key in sorted(found)]


def cell_figures(folder: Path, run: Path) -> dict[str, Any]:
    """Empty before the seed is fine-tuned."""
    task, seed, _ = run.name.rsplit("-", 2)
    stages = {file.stem: json.loads(file.read_text()) for file in run.glob("stages/*.json")}
    if "seed" not in stages:
        return {}
    part = Part(task, int(seed))
    found: dict[str, Any] = {"task": task, "seed": int(seed), "fine_tuned": stages["seed"]}
    if "data" in stages:
        found |= {key: stages["data"][key] for key in ("sequence_length", "metric")}
        found["row_counts"] = stages["data"]["rows"]
    if "search" in stages:
        search = stages["search"]
        found["reference"] = search["reference"]
        found["trials"] = [
            {key: trial[key] for key in ("design", "score", "cost")} for trial in search["trials"]
        ]
    if "trained" in stages:
        found["chosen"] = stages["trained"]
    for way in (SEARCHED, CELL):
        path = kept(folder, replace(part, way=way))
        if path.exists():
            told = json.loads(path.read_text())
            found |= {key: told[key] for key in ("device", "spent") if key in told}
            found["rows"] = {name: lean_row(row) for name, row in told["rows"].items()}
            if "tree" in told:
                found["tree"] = lean_tree(told["tree"])
            found["differences"] = differences(path.with_suffix(".npz"), found["metric"])
    return found


def lean_part(part: dict[str, Any]) -> dict[str, Any]:
    """Of a rival or an ablation."""
    lean = {"rows": {name: lean_row(row) for name, row in part["rows"].items()}}
    return part | lean | ({"tree": lean_tree(part["tree"])} if "tree" in part else {})


def lean_row(row: dict[str, Any]) -> dict[str, Any]:
    """Without what a record says of how it was measured; the seed's beside it, too."""
    boards = {
        times: {board: {name: of[name] for name in KEPT} for board, of in row[times].items()}
        for times in ("measured", "beside")
        if row.get(times)
    }
    return row | boards


def lean_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """Without the maps of weights, which are large, and tell where each came from."""
    nodes = [{k: v for k, v in node.items() if k != "weights"} for node in tree["nodes"]]
    return tree | {"nodes": nodes}


def differences(arrays: Path, metric: str) -> dict[str, dict[str, float]]:
    """Of a cell's models from the fine-tuned seed."""
    outputs = dict(np.load(arrays))
    labels = outputs.pop("labels").astype(float)
    seed = outputs.pop(SEED)
    return {way: difference(given, seed, labels, metric) for way, given in outputs.items()}


def beside_the_cell(folder: Path, part: dict[str, Any]) -> dict[str, dict[str, float]]:
    """A part from the fine-tuned seed, and from the refined model of its cell."""
    own = Part(part["task"], part["seed"], part["way"])
    metric = json.loads((folder / "runs" / own.cell.name / "stages" / "data.json").read_text())
    (given,) = np.load(kept(folder, own).with_suffix(".npz")).values()
    cell = np.load(kept(folder, own.cell).with_suffix(".npz"))
    labels = cell["labels"].astype(float)
    return {
        other: difference(given, cell[other], labels, metric["metric"]) for other in (SEED, REFINED)
    }


def difference(
    one: np.ndarray, other: np.ndarray, labels: np.ndarray, metric: str
) -> dict[str, float]:
    """In points; 95 % by rows drawn anew, the same for both. Outputs are (rows, outputs)."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]

    def value(outputs: np.ndarray, at: np.ndarray | slice) -> float:
        guesses = outputs[:, 0] if outputs.shape[1] == 1 else outputs.argmax(1)
        names = PARTS[metric]
        own = guesses.astype(float)[at], labels[at]
        return sum(METRICS[name](*own) for name in names) / len(names)

    apart = [100 * (value(one, at) - value(other, at)) for at in drawn]
    low, high = np.quantile(apart, (0.025, 0.975))
    whole = 100 * (value(one, slice(None)) - value(other, slice(None)))
    return {"points": whole, "low": float(low), "high": float(high)}
