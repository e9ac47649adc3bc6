"""The tables and the picture of docs/results.md, from what `results.py --table` wrote.

python benchmarks/results_page.py benchmarks/results.json docs/images/results.png
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results_part import REFINED, SEARCHED, SEED

DOTS_AN_INCH = 100
HALF_WIDTH = 1.96  # standard errors, of a 95 % interval
GOAL = -0.5  # points
UNTRAINED = {"seed-int8": "seed, int8", "seed-int8-trimmed": "seed, int8, trimmed"}  # rivals
COLOURS = {
    SEARCHED: "C7",
    "at last": "C0",
    "seed, int8": "C1",
    "seed, int8, trimmed": "C3",
    "pruned by magnitude": "k",
}
MARKERS = "osD^vPX*<>phd8"
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    raw = json.loads(given.table.read_text())
    by_name = sorted(raw["cells"], key=lambda cell: (cell["task"], cell["seed"]))
    cells = [cell for cell in by_name if SEARCHED in cell.get("rows", {})]
    for make in (cells_table, costs_table, means_table):
        print(make(cells))
    if unserved := [cell for cell in by_name if "chosen" in cell and cell not in cells]:
        print(unserved_line(unserved))
    if raw["parts"]:
        print(parts_table(raw["parts"]))
    draw(cells, raw["parts"], given.picture)


def cells_table(cells: Sequence[Row]) -> str:
    return as_table(
        f"task, random seed | dev rows | seed, fp32 | {' | '.join(UNTRAINED.values())}"
        " | searched, int8 | refined, served",
        (
            [
                name(cell),
                str(cell["row_counts"]["dev"]),
                interval(cell["rows"][SEED]["scores"]),
                *(f"{lost(cell, way):+.1f}" for way in UNTRAINED),
                paired(cell["differences"][SEARCHED]),
                paired(cell["differences"][REFINED]) if REFINED in cell["rows"] else "not done",
            ]
            for cell in cells
        ),
    )


def costs_table(cells: Sequence[Row]) -> str:
    """Of the last models; a time of this machine with its verdict where that is not `valid`, and
    that of the searched one where the last was not timed in turn with the seed."""
    return as_table(
        "task, random seed | searched | at last: weights, M | fewer | bytes"
        " | Nano, modelled | this machine | edits in it",
        (
            [
                name(cell),
                label(cell["chosen"]["design"]),
                f"{cell['rows'][last(cell)]['parameters'] / 1e6:.2f}",
                f"{times(cell, weights):.1f}x",
                f"{times(cell, size):.1f}x smaller",
                f"{times(cell, on_target):.1f}x faster",
                f"{times_here(cell):.1f}x faster{doubt(cell)}",
                edits(cell),
            ]
            for cell in cells
        ),
    )


def means_table(cells: Sequence[Row]) -> str:
    """Over tasks, each the mean of its random seeds; ratios to the fp32 seed, geometric.

    An interval is that of the dev rows alone, which random seeds of a task share: as wide as
    if all of them were lucky on the same rows.
    """
    refined = sum(REFINED in cell["rows"] for cell in cells)
    ways = {SEARCHED: SEARCHED, "at last": f"at last ({refined} refined)"}
    return as_table(
        f"mean of {len(of_each_task(cells))} tasks, {len(cells)} cells | points from the seed"
        " | fewer weights | smaller | faster: Nano, modelled | this machine",
        [
            *(
                [title, mean_lost(cells, way), *ratios(cells, way)]
                for way, title in UNTRAINED.items()
            ),
            *([title, mean_apart(cells, way), *ratios(cells, way)] for way, title in ways.items()),
        ],
    )


def of_each_task(cells: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for cell in cells:
        found[cell["task"]].append(cell)
    return found


def mean_lost(cells: Sequence[Row], way: str) -> str:
    tasks = [np.mean([lost(cell, way) for cell in t]) for t in of_each_task(cells).values()]
    return f"{np.mean(tasks):+.1f}"


def mean_apart(cells: Sequence[Row], way: str) -> str:
    by_task = of_each_task(cells).values()
    mean = np.mean([np.mean([apart(cell, way)["points"] for cell in t]) for t in by_task])
    errors = [np.mean([error(apart(cell, way)) for cell in t]) for t in by_task]
    half = HALF_WIDTH * math.sqrt(sum(one**2 for one in errors)) / len(errors)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def ratios(cells: Sequence[Row], way: str) -> list[str]:
    own = way if way != "at last" else ""
    found = [[times(cell, of, own) for cell in cells] for of in (weights, size, on_target)]
    found.append([times_here(cell, own) for cell in cells])
    return [f"{math.exp(np.mean(np.log(one))):.1f}x" for one in found]


def unserved_line(cells: Sequence[Row]) -> str:
    """Of cells whose chosen design is trained, and was not run as a graph on the dev rows."""
    said = [
        f"{name(cell)}: {100 * (trained - cell['fine_tuned']['dev']['value']):+.1f}"
        for cell in cells
        for trained in [cell["chosen"]["trained_scores"]["value"]]
    ]
    return f"Trained and not served yet (fp32, no interval): {'; '.join(said)}.\n"


def parts_table(parts: Sequence[Row]) -> str:
    return as_table(
        "task, random seed | way | score | from the seed | refined is ahead by | weights, M | MB"
        " | Nano, ms, modelled",
        (
            [
                name(part),
                part["way"],
                interval(row["scores"]),
                paired(part["differences"][SEED]),
                paired(turned(part["differences"][REFINED])),
                f"{row['parameters'] / 1e6:.1f}",
                f"{row['artefact_bytes'] / 1e6:.1f}",
                f"{1e3 * (on_target(row) if 'measured' in row else row['cost']['latency_s']):.0f}",
            ]
            for part in parts
            for row in [part["rows"][part["way"]]]
        ),
    )


def as_table(heads: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {heads} |", "|---" * len(heads.split(" | ")) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def name(row: Row) -> str:
    return f"{row['task']}, {row['seed']}"


def weights(row: Row) -> float:
    return float(row["parameters"])


def size(row: Row) -> float:
    return float(row["artefact_bytes"])


def on_target(row: Row) -> float:
    return float(row["measured"]["target"]["latency_p50_s"]["value"])


def here(row: Row) -> float:
    return float(row["measured"]["reference"]["latency_p50_s"]["value"])


def last(cell: Row) -> str:
    """What serves: the refined model, or the searched one where that is not done."""
    return REFINED if REFINED in cell["rows"] else SEARCHED


def apart(cell: Row, way: str) -> Row:
    found: Row = cell["differences"][way if way == SEARCHED else last(cell)]
    return found


def edits(cell: Row) -> str:
    """On the way from the searched model to the refined one."""
    if "tree" not in cell:
        return "not done"
    nodes = {node["number"]: node for node in cell["tree"]["nodes"]}
    at, count = nodes[cell["tree"]["best"]], 0
    while at["parent"] is not None:
        at, count = nodes[at["parent"]], count + 1
    return str(count)


def times(cell: Row, of: Any, way: str = "") -> float:
    """What the fp32 seed has, over what a model of the cell has; default: the last."""
    return float(of(cell["rows"][SEED]) / of(cell["rows"][way or last(cell)]))


def times_here(cell: Row, way: str = "") -> float:
    """The like of this machine's times: only what was measured in turn is compared."""
    row = cell["rows"][timed(cell, way or last(cell))]
    return here(seed_beside(cell, row)) / here(row)


def timed(cell: Row, way: str) -> str:
    """The model itself, or the one it came from where it was not timed in turn with the seed."""
    row, searched = cell["rows"][way], cell["rows"][SEARCHED]
    same = way != REFINED or "beside" in row or row["measured"] == searched["measured"]
    return way if same else SEARCHED


def seed_beside(cell: Row, row: Row) -> Row:
    """The fp32 seed, as it was timed in turn with a model of the cell."""
    return {"measured": row["beside"]} if "beside" in row else cell["rows"][SEED]


def doubt(cell: Row) -> str:
    way = timed(cell, last(cell))
    row = cell["rows"][way]
    both = row, seed_beside(cell, row)
    found = {one["measured"]["reference"]["verdict"] for one in both}
    said = [verdict for verdict in ("invalid", "suspect") if verdict in found][:1]
    said += ["the searched one"] if way != last(cell) else []
    return f" ({', '.join(said)})" if said else ""


def lost(cell: Row, way: str) -> float:
    rows = cell["rows"]
    return 100 * float(rows[way]["scores"]["value"] - rows[SEED]["scores"]["value"])


def label(design: Row) -> str:
    pieces = f"{design['vocabulary'] // 1000}k" if design["vocabulary"] else "all"
    table = f" e{design['table']}" if design.get("table") else ""
    return f"{design['layers']}L {design['heads']}h ff{design['feed_forward']} {pieces}{table}"


def interval(scores: Row) -> str:
    return f"{100 * scores['value']:.1f} [{100 * scores['low']:.1f}, {100 * scores['high']:.1f}]"


def paired(found: Row) -> str:
    return f"{found['points']:+.1f} [{found['low']:+.1f}, {found['high']:+.1f}]"


def turned(found: Row) -> Row:
    return {"points": -found["points"], "low": -found["high"], "high": -found["low"]}


def error(found: Row) -> float:
    return float(found["high"] - found["low"]) / (2 * HALF_WIDTH)


def draw(cells: Sequence[Row], parts: Sequence[Row], path: Path) -> None:
    """Points that each cell loses, with intervals; and what is lost for how many bytes."""
    from matplotlib.figure import Figure  # of the training extra

    figure = Figure(figsize=(11, 0.9 + 0.45 * max(6, len(cells))), layout="constrained")
    left, right = figure.subplots(1, 2)
    y = np.arange(len(cells))[::-1]
    for shift, way in ((0.13, SEARCHED), (-0.13, "at last")):
        found = [apart(cell, way) for cell in cells]
        points = np.array([one["points"] for one in found])
        ends = [points - [one["low"] for one in found], [one["high"] for one in found] - points]
        left.errorbar(
            points, y + shift, xerr=ends, fmt="o", color=COLOURS[way], label=way, capsize=3
        )
    left.axvline(0, color="k", lw=0.8)
    left.axvline(GOAL, color="C2", lw=0.8, ls="--", label=f"goal for the mean: {GOAL}")
    left.set_yticks(y, [name(cell) for cell in cells])
    left.set(xlabel="points from the fine-tuned seed, 95 % paired by dev row")
    ways: dict[str, list[tuple[float, float]]] = {
        "at last": [(times(c, size), apart(c, "at last")["points"]) for c in cells],
        SEARCHED: [(times(c, size, SEARCHED), apart(c, SEARCHED)["points"]) for c in cells],
    }
    for way, title in UNTRAINED.items():
        ways[title] = [(times(c, size, way), lost(c, way)) for c in cells]
    seeds = {(c["task"], c["seed"]): size(c["rows"][SEED]) for c in cells}
    for part in parts:
        before = seeds.get((part["task"], part["seed"]))
        if before is not None:
            at = before / size(part["rows"][part["way"]]), part["differences"][SEED]["points"]
            ways.setdefault(part["way"], []).append(at)
    for number, (way, dots) in enumerate(ways.items()):
        x, lost_points = zip(*dots)
        marker, colour = MARKERS[number % len(MARKERS)], COLOURS.get(way)
        right.plot(x, lost_points, marker, color=colour, label=way, alpha=0.8)
    right.axhline(0, color="k", lw=0.8)
    right.set(xlabel="times smaller than the fp32 seed", ylabel="points from the fine-tuned seed")
    for axes in (left, right):
        axes.grid(lw=0.4)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=DOTS_AN_INCH)


if __name__ == "__main__":
    main()
