"""A cell of the results: `edgetran deploy`, refined; and its refinement with something left out.

Every graph is run on the task's dev rows, and what it says of each row is kept, so that
differences can be paired.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_host.job.bench import Bench
from edgetran_host.job.config import Budget, JobConfig
from edgetran_host.job.releasing import CHOSEN
from edgetran_host.job.releasing import REFINED as RELEASED
from edgetran_host.job.run_directory import RunDirectory
from edgetran_host.job.running import run_job
from edgetran_host.job.teacher import fine_tuned_seed
from edgetran_host.models.seeds import load_seed
from edgetran_host.refine.ablations import folder_name
from edgetran_host.refine.efforts import settings
from edgetran_host.refine.node import ROOT
from edgetran_host.refine.running import refine_run
from edgetran_host.tasks import encode, load_task, score
from edgetran_host.training import predict, recipes
from edgetran_protos.bundle import Bundle
from results_part import (
    EFFORT,
    MAX_SIZE_BYTES,
    PREFER,
    REFINED,
    SEARCHED,
    SEED,
    TARGET,
    Found,
    Part,
    keep,
)

ABLATIONS = {  # name -> what `edgetran refine` is told
    "no growth": {"without": ("growth",)},
    "no distillation": {"without": ("distillation",)},
    "no hardware": {"without": ("hardware",)},
    "by position": {"importance": "position"},
    "by magnitude": {"importance": "magnitude"},
    "at random": {"importance": "random"},
}
SAME_SCORE = 1e-6


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
    again = {row["key"]: row for row in refined["rows"]}
    rows[REFINED] = again["chosen"] | {"beside": again[SEED]["measured"]}
    outputs[REFINED] = outputs_of_row(bench, refined_bundle(run), rows[REFINED])
    found = {
        "rows": rows,
        "tree": refined["refinement"],
        "sequence_length": bench.sequence_length,
        "dev_rows": len(bench.split.dev),
        "device": device_name(),
        "spent": asdict(bench.effort) | {"rounds": len(refined["refinement"]["rounds"])},
    }
    return found, outputs


def ablation(given: argparse.Namespace, run: Path, part: Part) -> Found:
    """The refinement of a copy of the run, told to leave something out."""
    own = given.folder / "ablations" / part.name
    if not (own / "result.json").exists():
        shutil.copytree(run, own, dirs_exist_ok=True, ignore=shutil.ignore_patterns(RELEASED))
    told: dict[str, Any] = ABLATIONS[part.way]
    chosen = settings(EFFORT, prefer=PREFER, rounds=given.rounds, **told)
    refined = refine_run(own, chosen, threads=1)
    row = {row["key"]: row for row in refined["rows"]}["chosen"]
    tree = refined["refinement"]
    outputs = outputs_of_row(bench_of(own), refined_bundle(own, tree), row)
    return {"rows": {part.way: row}, "tree": tree}, {part.way: outputs}


def refined_bundle(run: Path, tree: dict[str, Any] | None = None) -> Path:
    """What serves in the end; tree: of a refinement without a part, which releases nothing."""
    if tree and tree["without"] and tree["best"] != ROOT:
        folder = run / folder_name(tree["without"]) / f"node-{tree['best']}" / CHOSEN
        (measured,) = folder.glob("*.tar")
        return measured
    refined = run / RELEASED / "bundle.tar"
    return refined if refined.exists() else run / "bundle.tar"


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
