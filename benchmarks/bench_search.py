"""Searches for the best pairs of transformer and board, side by side on assumed truths.

Methods see noisy measurements only; what counts is exact (`search_scores.py`). Every cell, a
truth, task, method and seed, is kept in the results folder as soon as it is run: a benchmark
that was cut goes on, and further methods, seeds and tasks join those that are there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from edgetran_host.cosearch.front import hypervolume
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from search_cells import Cell, Trace, kept, run
from search_figures import draw
from search_rivals import DEFAULT, FRONT_METHODS, METHODS
from search_scores import (
    by_cost,
    looked_best,
    looked_best_again,
    needed,
    points,
    shares,
    upper_median,
    volumes,
)
from search_tasks import TASKS, Task, best_known, task_of

BUDGETS = {"T1": 200, "T1c": 60, "T3": 150}  # of full trainings in T1c; T2: LIMITED
LIMITED = 100
MILESTONES = (0.8, 0.9)
AT = (5, 10, 25, 35, 50, 75, 100, 150, 200, 300, 500)
STEP = 0.5  # of a full training
RIVALS = {  # whose evaluations to 90 % are set against a method's own
    "local_tied": ("local_tied",),
    "best TPE": ("optuna_tpe_tied", "optuna_tpe_freed", "optuna_tpe_layers"),
    "untied evolution": ("evolution_untied",),
}
Traces = dict[str, dict[int, Trace]]  # by method and seed


def main() -> None:
    given = arguments()
    folder = given.results or Path(tempfile.mkdtemp(prefix="bench-search-"))
    if given.run:
        keep_all(wanted(given), folder, given)
    reports = []
    for word in given.truths:
        for name in given.tasks:
            task, budget = task_of(word, name), budget_of(name, given.budget)
            found = read(task, folder, given.methods, given.seeds)
            if found:
                report = (
                    front_report(task, found) if task.front else gap_report(task, found, budget)
                )
                reports.append(report)
                if given.figures and not task.front:
                    picture(task, found, budget, given.figures)
    print(json.dumps(reports) if given.json else "\n\n".join(map(text, reports)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "truths",
        nargs="*",
        default=["friendly"],
        help="friendly, hostile, or files",
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["T1"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(DEFAULT))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, help="evaluations; full trainings in T1c")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="kept cells")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="pictures of convergence")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-run", dest="run", action="store_false", help="report what is kept")
    return parser.parse_args()


def budget_of(task: str, asked: int | None) -> int:
    return asked or BUDGETS.get(task, LIMITED)


def wanted(given: argparse.Namespace) -> list[Cell]:
    """Seeds first, so that a benchmark that is cut has some of every method."""
    return [
        Cell(word, task, method, seed)
        for seed in range(given.seeds)
        for word in given.truths
        for task in given.tasks
        for method in given.methods
        if task != "T3" or method in FRONT_METHODS
    ]


def keep_all(cells: Sequence[Cell], folder: Path, given: argparse.Namespace) -> None:
    """One thread a process: searches are many, and small."""
    os.environ["OMP_NUM_THREADS"] = "1"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    context = multiprocessing.get_context("spawn")
    with bar, ProcessPoolExecutor(given.processes, mp_context=context) as pool:
        shown = bar.add_task("cells", total=len(cells))
        waiting = {
            pool.submit(run, cell, folder, budget_of(cell.task, given.budget)): cell
            for cell in cells
        }
        try:
            for done in as_completed(waiting):
                done.result()
                cell = waiting[done]
                bar.update(shown, advance=1, description=f"{cell.task} {cell.method} {cell.seed}")
        except BaseException:  # an interrupt, too: what waits must not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def read(task: Task, folder: Path, methods: Iterable[str], seeds: int) -> Traces:
    """All that is kept, cells of a smaller budget too."""
    found: Traces = {}
    for method in methods:
        for seed in range(seeds):
            trace = kept(Cell(task.truth, task.name, method, seed), folder, task)
            if trace is not None:
                found.setdefault(method, {})[seed] = trace
    return found


def report_of(task: Task, found: Traces, budget: int) -> dict[str, object]:
    return front_report(task, found) if task.front else gap_report(task, found, budget)


def gap_report(task: Task, found: Traces, budget: int) -> dict[str, object]:
    """Shares at numbers of evaluations, or of full trainings."""
    median, best = ends(task, found)
    once = {name: curves(task, one, budget, median, best) for name, one in found.items()}
    again = {name: curves(task, one, budget, median, best, True) for name, one in found.items()}
    rows = [
        row(name, once, again[name], found[name], STEP if task.counted else 1.0) for name in found
    ]
    report = {"truth": task.truth, "task": task.name, "median": median, "best": best}
    return {**report, "budget": budget, "methods": rows}


def ends(task: Task, found: Traces) -> tuple[float, float]:
    """The median random design, and the best that is known or that any method came upon."""
    known = best_known(task.truth, task.name)
    best = -np.inf if known is None else float(task.exact([known])[0])
    for traces in found.values():
        for trace in traces.values():
            places = [task.space.places[at] for at in trace.places]
            keeps = (task.goal.excess(trace.exact[:, 1:]) <= 0).all(axis=1)
            values = task.goal.values(places, trace.exact[:, 0], trace.exact[:, 1:])
            best = max(best, float(values[keeps].max(initial=-np.inf)))
    return task.median, best


def curves(
    task: Task,
    traces: dict[int, Trace],
    budget: int,
    median: float,
    best: float,
    again: bool = False,
) -> np.ndarray:
    """(seeds, n) shares, as long as the shortest; again: finalists measured again."""
    rows = []
    for trace in traces.values():
        values = looked_best_again(task, trace) if again else looked_best(task, trace)
        if task.counted:
            values = by_cost(values, trace.costs, budget, STEP)
        rows.append(shares(values if task.counted else values[:budget], median, best))
    shortest = min(map(len, rows))
    return np.array([one[:shortest] for one in rows])


def row(
    name: str, once: dict[str, np.ndarray], again: np.ndarray, traces: dict[int, Trace], step: float
) -> dict[str, object]:
    """step: what lies between two columns of a curve. Evaluations None: half or more never came."""
    mine = once[name]
    count90 = needed(mine, 0.9)
    at = [count for count in AT if count <= mine.shape[1] * step]
    column = {count: round(count / step) - 1 for count in at}
    reached = {goal: step * upper_median(needed(mine, goal)) for goal in MILESTONES}
    return {
        "method": name,
        "seeds": len(mine),
        "share": {count: float(np.median(mine[:, column[count]])) for count in at},
        "share_measured_again": {count: float(np.median(again[:, column[count]])) for count in at},
        "each_at_end": mine[:, -1].round(3).tolist(),
        "needed": {goal: finite(value) for goal, value in reached.items()},
        "reached_90": int(np.isfinite(count90).sum()),
        "ratios": {
            rival: ratio(once, reached[0.9], names, step) for rival, names in RIVALS.items()
        },
        "cpu_s": float(np.mean([trace.seconds / len(trace.costs) for trace in traces.values()])),
    }


def ratio(
    once: dict[str, np.ndarray], mine: float, rivals: Sequence[str], step: float
) -> str | None:
    """The best rival's evaluations to 90 % over the method's own; ">": it never came to it."""
    there = [once[name] for name in rivals if name in once]
    if not there or not np.isfinite(mine):
        return None
    theirs = min(step * upper_median(needed(one, 0.9)) for one in there)
    most = max(one.shape[1] for one in there) * step
    return f"{theirs / mine:.2f}" if np.isfinite(theirs) else f">{most / mine:.2f}"


def finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def front_report(task: Task, found: Traces) -> dict[str, object]:
    """Hypervolumes as shares of what all points of all methods dominate."""
    worst = task.worst
    every = [points(trace.exact) for traces in found.values() for trace in traces.values()]
    union = hypervolume(np.concatenate(every), worst)
    rows = []
    for name, traces in found.items():
        each = [volumes(trace, worst, AT) for trace in traces.values()]
        at = [count for count in AT if all(count in one for one in each)]
        rows.append(
            {
                "method": name,
                "seeds": len(each),
                "share": {n: float(np.median([one[n] for one in each])) / union for n in at},
                "cpu_s": float(np.mean([t.seconds / len(t.costs) for t in traces.values()])),
            }
        )
    return {"truth": task.truth, "task": task.name, "union": union, "methods": rows}


def text(report: dict[str, object]) -> str:
    """Shares in per cent; +: finalists measured again; n/m: seeds that came to 90 %."""
    rows: list[dict[str, dict[object, object]]] = report["methods"]  # type: ignore[assignment]
    counts = list(dict.fromkeys(count for one in rows for count in one["share"]))
    front = "union" in report
    unit = "trainings" if report["task"] == "T1c" else "evaluations"
    lines = [f"{report['truth']} {report['task']}, shares in per cent at numbers of {unit}"]
    heads = "".join(f"{count:>5}" for count in counts)
    goals = "" if front else f"{'again':>7}{'to 80':>7}{'to 90':>7}{'90 %':>8}"
    goals += "" if front else "".join(f"{f'x {rival}':>19}" for rival in RIVALS)
    lines.append(f"{'method':22}{'seeds':>6}{heads}{goals}{'CPU-s':>8}")
    for one in rows:
        line = f"{one['method']!s:22}{one['seeds']!s:>6}"
        for count in counts:
            share = one["share"].get(count)
            line += f"{'':>5}" if share is None else f"{100 * float(str(share)):5.0f}"
        if not front:
            last = list(one["share_measured_again"].values())[-1:]
            line += f"{100 * float(str(last[0])):7.0f}" if last else f"{'':>7}"
            line += "".join(f"{one['needed'][goal] or '-':>7}" for goal in MILESTONES)
            line += f"{one['reached_90']}/{one['seeds']}".rjust(8)
            line += "".join(f"{one['ratios'][rival] or '-':>19}" for rival in RIVALS)
        lines.append(f"{line}{float(str(one['cpu_s'])):8.3f}")
    return "\n".join(lines)


def picture(task: Task, found: Traces, budget: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    median, best = ends(task, found)
    drawn = {name: curves(task, one, budget, median, best) for name, one in found.items()}
    unit, step = ("full trainings", STEP) if task.counted else ("evaluations", 1.0)
    count = max(one.shape[1] for one in drawn.values())
    name = f"{Path(task.truth).stem}-{task.name}".replace(":", "_")
    draw(
        drawn,
        f"{task.name} on the {Path(task.truth).stem} truth: median and quartiles",
        (unit, step * np.arange(1, count + 1)),
        folder / f"{name}.png",
    )


if __name__ == "__main__":
    main()
