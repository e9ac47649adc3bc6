"""The tables and the picture of docs/results.md, from what `results.py --table` wrote.

python benchmarks/results_page.py benchmarks/results.json docs/images/results.png
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

DOTS_AN_INCH = 100
SEED_WEIGHTS = 22.4e6  # of MiniLM-L6 at these lengths
Cell = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    raw = json.loads(given.table.read_text())
    cells = [cell for cell in raw["cells"] if "chosen" in cell]
    print(cells_table(cells))
    print(means_table(cells))
    refined = [cell for cell in cells if "refined" in cell.get("rows", {})]
    if refined:
        print(refined_table(refined))
    if raw["parts"]:
        print(parts_table(raw["parts"]))
    draw(cells, given.picture)


def cells_table(cells: list[Cell]) -> str:
    lines = [
        "| task, random seed | dev rows | fine-tuned seed | searched, weights | points"
        " | weights, M | bytes | ~ms on the Nano | design |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        fine, chosen = cell["fine_tuned"]["dev"], cell["chosen"]
        mine = chosen["trained_scores"]
        cost, before = cost_of(cell), cell["reference"]["cost"]
        lines.append(
            f"| {cell['task']}, {cell['seed']} | {cell['row_counts']['dev']} | {interval(fine)}"
            f" | {interval(mine)} | {points(cell):+.1f} | {chosen['parameters'] / 1e6:.1f}"
            f" | {before['size_bytes'] / cost['size_bytes']:.1f}x smaller"
            f" | {before['latency_s'] / cost['latency_s']:.1f}x faster | {label(chosen)} |"
        )
    return "\n".join(lines) + "\n"


def means_table(cells: list[Cell]) -> str:
    """Over tasks, each the mean of its seeds; ratios geometric."""
    by_task: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_task[cell["task"]].append(cell)
    lost = [float(np.mean([points(cell) for cell in own])) for own in by_task.values()]
    ratios: dict[str, list[float]] = {
        "fewer weights": [SEED_WEIGHTS / cell["chosen"]["parameters"] for cell in cells],
        "smaller": [ratio(cell, "size_bytes") for cell in cells],
        "faster on the Nano, modelled": [ratio(cell, "latency_s") for cell in cells],
    }
    said = ", ".join(
        f"{math.exp(float(np.mean(np.log(found)))):.1f}x {name}" for name, found in ratios.items()
    )
    return f"Mean of {len(by_task)} tasks: {np.mean(lost):+.1f} points, {said}.\n"


def refined_table(cells: list[Cell]) -> str:
    """Of cells whose refinement is finished: differences from the seed, paired by rows."""
    lines = [
        "| task, random seed | searched, served | refined, served | weights, M | bytes | edits |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        rows, apart = cell["rows"], cell["differences"]
        seed, refined = rows["seed-fp32"], rows["refined"]
        trained = sum(one["winner"] is not None for one in cell["tree"]["rounds"])
        lines.append(
            f"| {cell['task']}, {cell['seed']} | {paired(apart['searched'])}"
            f" | {paired(apart['refined'])} | {refined['parameters'] / 1e6:.1f}"
            f" | {seed['artefact_bytes'] / refined['artefact_bytes']:.1f}x smaller | {trained} |"
        )
    return "\n".join(lines) + "\n"


def parts_table(parts: list[dict[str, Any]]) -> str:
    lines = ["| task, random seed | way | score | weights, M | bytes |", "|---|---|---|---|---|"]
    for part in parts:
        row = part["rows"][part["way"]]
        lines.append(
            f"| {part['task']}, {part['seed']} | {part['way']} | {interval(row['scores'])}"
            f" | {row['parameters'] / 1e6:.1f} | {row['artefact_bytes'] / 1e6:.1f} MB |"
        )
    return "\n".join(lines) + "\n"


def cost_of(cell: Cell) -> dict[str, float]:
    design = cell["chosen"]["design"]
    found: dict[str, float] = next(t["cost"] for t in cell["trials"] if t["design"] == design)
    return found


def ratio(cell: Cell, name: str) -> float:
    return float(cell["reference"]["cost"][name] / cost_of(cell)[name])


def points(cell: Cell) -> float:
    before = cell["fine_tuned"]["dev"]["value"]
    return 100 * float(cell["chosen"]["trained_scores"]["value"] - before)


def label(chosen: dict[str, Any]) -> str:
    design = chosen["design"]
    pieces = f"{design['vocabulary'] // 1000}k" if design["vocabulary"] else "all"
    shape = f"{design['layers']}L {design['heads']}h ff{design['feed_forward']}"
    return f"{shape} {pieces} {design['precision']}"


def interval(scores: dict[str, float]) -> str:
    return f"{100 * scores['value']:.1f} [{100 * scores['low']:.1f}, {100 * scores['high']:.1f}]"


def paired(found: dict[str, float]) -> str:
    return f"{found['points']:+.1f} [{found['low']:+.1f}, {found['high']:+.1f}]"


def draw(cells: list[Cell], path: Path) -> None:
    """Every cell's scores before and after, with their intervals."""
    from matplotlib.figure import Figure  # of the training extra

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    names = [f"{cell['task']}\n{cell['seed']}" for cell in cells]
    for shift, colour, name, scores in (
        (-0.12, "C7", "seed, fine-tuned", [cell["fine_tuned"]["dev"] for cell in cells]),
        (0.12, "C0", "searched", [cell["chosen"]["trained_scores"] for cell in cells]),
    ):
        x = np.arange(len(cells)) + shift
        values = np.array([100 * one["value"] for one in scores])
        below = values - [100 * one["low"] for one in scores]
        above = [100 * one["high"] for one in scores] - values
        axes.errorbar(x, values, yerr=[below, above], fmt="o", color=colour, label=name, capsize=3)
    axes.set_xticks(range(len(cells)), names, fontsize=8)
    axes.set(ylabel="dev score, 95 % interval", ylim=(0, 100))
    axes.grid(axis="y", lw=0.4)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=DOTS_AN_INCH)


if __name__ == "__main__":
    main()
