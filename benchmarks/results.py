"""Six tasks, three seeds: the fine-tuned seed, what the search chose, what refining made of it.

    python benchmarks/results.py FOLDER                   (hours; the same command goes on)
    python benchmarks/results.py FOLDER --rivals --ablations SST-2,MRPC,CoLA
    python benchmarks/results.py FOLDER --table benchmarks/results.json   (adds to what it has)

A cell is one task with one random seed: `edgetran deploy --effort standard --max-size 8.4MB
--prefer accuracy` for an emulated Jetson Nano, refined. Its rivals get its final shape, or three
of the seed's layers, in one go, and as many rows to learn from; one is what a user does without
any of this: the smallest weights of the fine-tuned seed go, the labels teach what is left. Its
ablations begin from the same searched model. Every graph is run on the task's dev rows, and what
it says of each row is kept, so that differences can be paired.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_host.job.bench import Bench
from edgetran_host.job.build import artefact_bytes, build, scores_to_json
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.config import Budget, JobConfig
from edgetran_host.job.releasing import CHOSEN, REFINED
from edgetran_host.job.run_directory import RunDirectory, write_atomically
from edgetran_host.job.running import run_job
from edgetran_host.job.searching import measure_briefly, to_cost
from edgetran_host.job.teacher import fine_tuned_seed, targets
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.seeds import load_seed
from edgetran_host.refine.ablations import folder_name
from edgetran_host.refine.efforts import SPENT, settings
from edgetran_host.refine.importance import IMPORTANCES
from edgetran_host.refine.making import make
from edgetran_host.refine.node import ROOT, Node
from edgetran_host.refine.proposals import Proposal
from edgetran_host.refine.running import refine_run
from edgetran_host.search.seeded_space import Design
from edgetran_host.tasks import encode, load_task, score
from edgetran_host.tasks.scoring import METRICS, PARTS
from edgetran_host.training import Targets, predict, recipes
from edgetran_host.transfer.growth import Edit
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import EdgeTranError

GLUE = Path(__file__).resolve().parents[2] / "shared" / "data" / "glue"
TASKS = ("SST-2", "MRPC", "RTE", "CoLA", "STS-B", "QNLI-mini")
SEEDS = 3
TARGET, EFFORT, MAX_SIZE_BYTES, PREFER = "nano", "standard", 8.4e6, "accuracy"
CELL, SEARCHED, SEED = "edgetran", "searched", "seed-fp32"
ONE_SHOT, TRUNCATED, PRUNED = "one-shot", "truncated", "pruned by magnitude"
LAYERS = 3  # of the truncated seed
RESAMPLES = 1_000
RIVALS = (ONE_SHOT, TRUNCATED, PRUNED)
ABLATIONS = {  # name -> what `edgetran refine` is told
    "no growth": {"without": ("growth",)},
    "no distillation": {"without": ("distillation",)},
    "no hardware": {"without": ("hardware",)},
    "by position": {"importance": "position"},
    "by magnitude": {"importance": "magnitude"},
    "at random": {"importance": "random"},
}
LOOK_S = 0.5
SAME_SCORE = 1e-6
METHOD = 3  # counts what changed a cell but is no part of its settings; others are not kept
KEPT = ("board", "modelled", "verdict", "reasons", "latency_p50_s", "energy_j", "peak_power_w")


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


def kept(folder: Path, part: Part) -> Path:
    return folder / "parts" / f"{part.name}.json"


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


def keep(folder: Path, part: Part, found: dict[str, Any], outputs: dict[str, np.ndarray]) -> None:
    path = kept(folder, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path.with_suffix(".npz"), **outputs)
    write_atomically(path, json.dumps({**asdict(part), **found}, indent=1).encode())


Found = tuple[dict[str, Any], dict[str, np.ndarray]]


def edgetran_cell(given: argparse.Namespace, part: Part, run: Path) -> Found:
    config = JobConfig(
        data=str(given.data / part.task),
        seed=given.pretrained,
        target=TARGET,
        effort=EFFORT,
        budget=Budget(max_size_bytes=MAX_SIZE_BYTES),
        random_seed=part.seed,
        prefer=PREFER,
    )
    searched = run_job(config, run, threads=1)
    bench = bench_of(run)
    rows = {row["key"]: row for row in searched["rows"]}
    rows[SEARCHED] = rows.pop("chosen")
    teacher, tokenizer_json = fine_tuned_seed(bench)
    own = bench.encode(bench.split.dev, tokenizer_json)
    outputs = {
        "labels": own.labels,
        SEED: predict(teacher, own),
        SEARCHED: outputs_of_row(bench, run / "bundle.tar", rows[SEARCHED]),
    }
    so_far = {"rows": dict(rows), "device": device_name()}
    keep(given.folder, replace(part, way=SEARCHED), so_far, outputs)
    refined = refine_run(run, settings(EFFORT, prefer=PREFER, rounds=given.rounds), threads=1)
    rows["refined"] = {row["key"]: row for row in refined["rows"]}["chosen"]
    outputs["refined"] = outputs_of_row(bench, refined_bundle(run), rows["refined"])
    found = {
        "rows": rows,
        "tree": refined["refinement"],
        "sequence_length": bench.sequence_length,
        "dev_rows": len(bench.split.dev),
        "device": device_name(),
        "spent": asdict(bench.effort) | {"rounds": len(refined["refinement"]["rounds"])},
    }
    return found, outputs


def refined_bundle(run: Path, tree: dict[str, Any] | None = None) -> Path:
    """What serves in the end; tree: of a refinement without a part, which releases nothing."""
    if tree and tree["without"] and tree["best"] != ROOT:
        folder = run / folder_name(tree["without"]) / f"node-{tree['best']}" / CHOSEN
        (measured,) = folder.glob("*.tar")
        return measured
    refined = run / REFINED / "bundle.tar"
    return refined if refined.exists() else run / "bundle.tar"


def ablation(given: argparse.Namespace, run: Path, part: Part) -> Found:
    """The refinement of a copy of the run, told to leave something out."""
    own = given.folder / "ablations" / part.name
    if not (own / "result.json").exists():
        shutil.copytree(run, own, dirs_exist_ok=True, ignore=shutil.ignore_patterns(REFINED))
    told: dict[str, Any] = ABLATIONS[part.way]
    chosen = settings(EFFORT, prefer=PREFER, rounds=given.rounds, **told)
    refined = refine_run(own, chosen, threads=1)
    row = {row["key"]: row for row in refined["rows"]}["chosen"]
    tree = refined["refinement"]
    outputs = outputs_of_row(bench_of(own), refined_bundle(own, tree), row)
    return {"rows": {part.way: row}, "tree": tree}, {part.way: outputs}


def rival(run: Path, way: str) -> Found:
    """Trained in one go on as many rows as the refined model saw on its way."""
    import edgetran

    bench = bench_of(run)
    teacher, tokenizer_json = fine_tuned_seed(bench)
    nursery = Nursery(bench, teacher, tokenizer_json)
    tree = json.loads((run / REFINED / "result.json").read_text())["refinement"]
    searched = Design(**json.loads((run / "result.json").read_text())["search"]["best"]["design"])
    path = path_to_best(tree)
    told: Targets | None = targets(bench, teacher, tokenizer_json)
    taught = len(bench.split.taught)
    if way == ONE_SHOT:
        child = all_at_once(bench, nursery.child(searched), tree)
    elif way == TRUNCATED:
        whole = nursery.space().seed_point()
        child = nursery.child(replace(whole, layers=LAYERS, precision="int8"))
    else:
        child = by_magnitude(nursery, Node.from_json(tree["nodes"][tree["best"]]))
        told, taught = None, taught - len(bench.split.made)
    rows = rows_seen(bench, path)
    recipe = replace(bench.effort.final_recipe, epochs=rows / taught)
    folder = bench.run.path.parent.parent / "rivals" / f"{run.name}-{way.replace(' ', '-')}"
    nursery.distil(child, told, recipe, taught, folder / "checkpoint", way)
    config = bench.config
    with (
        edgetran.connect(config.target, threads=1) as board,
        edgetran.connect("local", threads=1) as reference,
    ):
        fields = {field.name: getattr(bench, field.name) for field in dataclasses.fields(Bench)}
        work = Workbench(**fields, board=board, reference=reference, allow_older=False)
        built = build(work, child.model, child.tokenizer_json, way, ("int8",), folder)
        variant = built.exported[0].variant.name
        size = artefact_bytes(built.bundle, variant)
        cost = to_cost(measure_briefly(board, built.bundle, variant, bench.on_progress), size)
    found: dict[str, Any] = {
        "parameters": parameters(child),
        "artefact_bytes": size,
        "rows_seen": rows,
        "cost": asdict(cost),
    }
    outputs = outputs_of(bench, built.bundle, variant)
    found["scores"] = scores_to_json(score(bench.task, outputs))
    return {"rows": {way: found}}, {way: outputs}


def by_magnitude(nursery: Nursery, node: Node) -> Child:
    """The refined shape of the seed's largest weights; its table of words stays as wide."""
    seed = nursery.teacher
    kept = IMPORTANCES["magnitude"](seed, nursery.teacher_saliency, 0)
    return nursery.cut(node.architecture, node.pieces, by=kept, dropout=seed.config.dropout)


def all_at_once(bench: Bench, child: Child, tree: dict[str, Any]) -> Child:
    """The edits that led to the refined model, without any training between them."""
    parent = Node.from_json(tree["nodes"][ROOT])
    for node in path_to_best(tree):
        assert node.weights is not None
        proposal = Proposal(
            node.mode,
            node.what,
            Edit(node.architecture, node.weights),
            pieces=node.pieces if node.pieces != parent.pieces else None,
            new_pieces=node.what.endswith("new pieces"),
            table_width=node.table_width if node.table_width != parent.table_width else None,
        )
        made = make(child.model, child.tokenizer_json, proposal, bench.texts(), seed=node.number)
        child, parent = Child(made.model, made.tokenizer_json, ()), node
    return child


def path_to_best(tree: dict[str, Any]) -> list[Node]:
    """From the first edit to the best node."""
    nodes = {raw["number"]: Node.from_json(raw) for raw in tree["nodes"]}
    found, at = [], nodes[tree["best"]]
    while at.number != ROOT:
        assert at.parent is not None
        found.append(at)
        at = nodes[at.parent]
    return found[::-1]


def rows_seen(bench: Bench, path: Sequence[Node]) -> int:
    """By the searched model's trial and last training, each edit, and the refined one's last."""
    _, probe, step = SPENT[EFFORT]
    taught = len(bench.split.taught)
    last = round(bench.effort.final_recipe.epochs * taught)
    return bench.effort.trial_rows + last + (len(path) * (probe + step) + last if path else 0)


def parameters(child: Child) -> int:
    return sum(parameter.numel() for parameter in child.model.parameters())


def bench_of(run: Path) -> Bench:
    directory = RunDirectory(run)
    config = directory.config()
    task = load_task(config.data, limit=recipes.effort(config.effort).distillation_rows)
    return Bench(config, task, load_seed(config.seed), directory, 1, lambda event: None)


def outputs_of_row(bench: Bench, bundle: Path, row: dict[str, Any]) -> np.ndarray:
    """(dev rows, outputs) float32, of the graph that a row of the final table is about."""
    outputs = outputs_of(bench, Bundle.open(bundle), row["variant"])
    found, told = score(bench.task, outputs).value, row["scores"]["value"]
    if abs(found - told) > SAME_SCORE:
        raise SystemExit(f"{bundle}: scores {found}, but {row['title']} scored {told}")
    return outputs


def outputs_of(bench: Bench, bundle: Bundle, variant: str) -> np.ndarray:
    """(dev rows, outputs) float32, of a graph as it was packed."""
    from edgetran_host.export import run_graph

    card = bundle.card
    chosen = card.variant(variant)
    tokenizer = bundle.read(card.tokenizer_digest)
    data = encode(tokenizer, bench.split.dev, bench.sequence_length, bench.task)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        graph.write_bytes(bundle.read(chosen.digest))
        return run_graph(chosen.runtime, graph, data)


def device_name() -> str:
    import torch
    from edgetran_host.training.device import compute_device

    device = compute_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


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
    """Without what a record says of how it was measured."""
    boards = {
        board: {name: record[name] for name in KEPT}
        for board, record in row.get("measured", {}).items()
    }
    return row | ({"measured": boards} if boards else {})


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
        other: difference(given, cell[other], labels, metric["metric"])
        for other in (SEED, "refined")
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


if __name__ == "__main__":
    main()
