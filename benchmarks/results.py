"""Six tasks, three seeds: the fine-tuned seed, what the search chose, what refining made of it.

    python benchmarks/results.py FOLDER                   (hours; the same command goes on)
    python benchmarks/results.py FOLDER --rivals --ablations SST-2,MRPC,CoLA
    python benchmarks/results.py FOLDER --table benchmarks/results.json   (adds to what it has)

A cell is one task with one random seed: `edgetran deploy --effort standard --max-size 8.4MB
--prefer accuracy` for an emulated Jetson Nano, refined.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgetran_host.training import recipes
from edgetran_protos.errors import EdgeTranError
from results_cell import ABLATIONS, ablation, edgetran_cell
from results_part import CELL, EFFORT, Part, keep, kept
from results_rivals import RIVALS, rival
from results_table import write_table

GLUE = Path(__file__).resolve().parents[2] / "shared" / "data" / "glue"
TASKS = ("SST-2", "MRPC", "RTE", "CoLA", "STS-B", "QNLI-mini")
SEEDS = 3
LOOK_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=GLUE, help="folder of the tasks' folders")
    parser.add_argument("--pretrained", default="minilm", help="seed to start from")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--ablations", default="", help="tasks to take the refinement apart on")
    parser.add_argument("--trials", type=int, help="of the search, if not as many as usual")
    parser.add_argument("--rounds", type=int, help="of the refinement, likewise")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--part", help="TASK:SEED:WAY, in this process")
    parser.add_argument("--table", type=Path, help="write what is finished, train nothing")
    given = parser.parse_args()
    if given.table:
        write_table(given.folder, given.table)
    elif given.part:
        task, seed, way = given.part.split(":")
        done(given, Part(task, int(seed), way))
    else:
        run_all(given, list(parts(given)))


def parts(given: argparse.Namespace) -> Iterator[Part]:
    """Every cell of the first seed before any of the next."""
    tasks = given.tasks.split(",")
    for way in (CELL, *(RIVALS if given.rivals else ())):
        yield from (Part(task, seed, way) for seed in range(given.seeds) for task in tasks)
    for way in ABLATIONS if given.ablations else ():
        yield from (Part(task, 0, way) for task in given.ablations.split(","))


def run_all(given: argparse.Namespace, waiting: list[Part]) -> None:
    """As many processes as asked for, each with daemons of its own; parts as they come free."""
    until = time.monotonic() + given.seconds
    running: dict[subprocess.Popen[bytes], Part] = {}
    waiting = [part for part in waiting if not kept(given.folder, part).exists()]
    failed: list[str] = []
    try:
        while (waiting or running) and time.monotonic() < until:
            free = [part for part in waiting if ready(given.folder, part)]
            for part in free[: given.processes - len(running)]:
                waiting.remove(part)
                running[start(given, part)] = part
            if not running:
                break  # what is left waits for a cell that failed
            time.sleep(LOOK_S)
            for process in [one for one in running if one.poll() is not None]:
                part = running.pop(process)
                if process.returncode:
                    failed.append(part.name)
                said = f"failed, see {part.name}.log" if process.returncode else "finished"
                print(f"{part.name}: {said}; {len(waiting)} left", flush=True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def ready(folder: Path, part: Part) -> bool:
    return part.way == CELL or kept(folder, part.cell).exists()


def start(given: argparse.Namespace, part: Part) -> subprocess.Popen[bytes]:
    home = given.folder.resolve() / "homes" / part.name
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, str(given.folder), "--data", str(given.data)]
    command += ["--pretrained", given.pretrained, "--part", f"{part.task}:{part.seed}:{part.way}"]
    command += ["--trials", str(given.trials)] if given.trials else []
    command += ["--rounds", str(given.rounds)] if given.rounds else []
    with open(home / f"{part.name}.log", "ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "EDGETRAN_HOME": str(home)}
        )


def done(given: argparse.Namespace, part: Part) -> None:
    """Does one part, and keeps its figures and what its graphs say of the dev rows."""
    started = time.monotonic()
    if given.trials:
        usual = recipes.effort(EFFORT)
        recipes.EFFORTS = {**recipes.EFFORTS, EFFORT: replace(usual, trials=given.trials)}
    run = given.folder / "runs" / part.cell.name
    try:
        if part.way == CELL:
            found, outputs = edgetran_cell(given, part, run)
        elif part.way in RIVALS:
            found, outputs = rival(run, part.way)
        else:
            found, outputs = ablation(given, run, part)
    except EdgeTranError as error:
        raise SystemExit(f"{error}; {error.hint}") from error
    keep(given.folder, part, {"seconds": round(time.monotonic() - started), **found}, outputs)


if __name__ == "__main__":
    main()
