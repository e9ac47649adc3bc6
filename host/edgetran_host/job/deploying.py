"""The whole job, stage by stage; a finished stage is never paid for again."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

from edgetran.progress import Progress
from edgetran.results import Measurement
from edgetran_protos.bundle import Bundle

from edgetran_host.job.baselines import Baseline, baselines
from edgetran_host.job.build import build, rows_of
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.searching import Reference, Search, cost_on_board
from edgetran_host.job.teacher import describe_data, fine_tuned_seed, targets
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.search.seeded_space import Design, keep_layers

CHOSEN = "chosen"
ANSWERED_ROWS = 3


def deploy_job(work: Workbench) -> dict[str, Any]:
    """Runs or continues the job; returns what `result.json` holds."""
    data = work.run.once("data", lambda: describe_data(work))
    teacher, tokenizer_json = fine_tuned_seed(work)
    nursery = Nursery(work, teacher, tokenizer_json)
    plain = baselines(work, nursery, tokenizer_json)
    found = _search(work, nursery, tokenizer_json, plain[0])
    chosen = _finish(work, nursery, tokenizer_json, Design(**found["best"]["design"]))
    rows = [*plain, chosen]
    measured = _measure(work, rows)
    _deploy(work, chosen)
    result = {
        "config": work.config.to_json(),
        "run": str(work.run.path),
        "data": data,
        "search": found,
        "rows": [_row(row, measured[row.key]) for row in rows],
        "boards": {
            "target": dataclasses.asdict(work.board.describe()),
            "reference": dataclasses.asdict(work.reference.describe()),
        },
        "answers": _answers(work),
    }
    work.run.write_result(result)
    return result


def _search(
    work: Workbench, nursery: Nursery, tokenizer_json: bytes, seed: Baseline
) -> dict[str, Any]:
    def search() -> dict[str, Any]:
        taught = targets(work, nursery.teacher, tokenizer_json)
        score = work.run.stage("seed") or {}
        reference = Reference(
            cost=cost_on_board(work, seed.bundle, seed.variant),
            score=score["valid"]["value"],
        )
        searching = Search(work, nursery, taught, reference)
        best = searching.run()
        return {
            "best": dataclasses.asdict(best),
            "reference": dataclasses.asdict(reference),
            "model": str(searching.model_folder(best.design).relative_to(work.run.path)),
            "trials": searching.history(),
        }

    return work.run.once("search", search)


def _finish(work: Workbench, nursery: Nursery, tokenizer_json: bytes, design: Design) -> Baseline:
    """Trains the winner on, from its trial's weights, exports, scores and packs it."""
    folder = work.run.folder(CHOSEN)

    def finish() -> dict[str, Any]:
        found = work.run.stage("search") or {}
        model, trimmed = load_model(work.run.path / found["model"] / "model")
        kept = keep_layers(len(nursery.teacher.config.architecture.layers), design.layers)
        child = Child(model, trimmed, kept)
        nursery.distil(
            child,
            targets(work, nursery.teacher, tokenizer_json),
            work.effort.final_recipe,
            len(work.split.train),
            folder / "checkpoint",
            "final training",
        )
        save_model(model, folder / "model", trimmed)
        built = build(work, model, trimmed, CHOSEN, (design.precision,), folder)
        row = rows_of(work, model, trimmed, built)[0]
        return {**row, "design": dataclasses.asdict(design), "label": design.label()}

    found = work.run.once(CHOSEN, finish)
    return Baseline(
        key=CHOSEN,
        title=f"chosen: {found['label']}",
        bundle=Bundle.open(folder / found["bundle"]),
        variant=found["variant"],
        found=found,
    )


def _measure(work: Workbench, rows: list[Baseline]) -> dict[str, dict[str, Any]]:
    """Every row on the target and on this machine, each time in turn with the others."""

    def measure() -> dict[str, Any]:
        found: dict[str, Any] = {row.key: {} for row in rows}
        boards = {"target": work.board}
        if work.config.target != "local":
            boards["reference"] = work.reference
        for name, board in boards.items():
            for row in rows:
                board.upload(row.bundle)
            records = board.measure(
                [(row.bundle, row.variant) for row in rows],
                on_progress=lambda event, name=name: work.on_progress(  # type: ignore[misc]
                    dataclasses.replace(event, stage=f"measuring ({name})")
                ),
            )
            for row, record in zip(rows, records):
                found[row.key][name] = _record(record)
            for row in rows:
                board.discard(row.bundle.digest)
        return found

    return work.run.once("measurements", measure)


def _record(record: Measurement) -> dict[str, Any]:
    """All of it, raw samples included, so that every figure can be derived again."""
    raw = dataclasses.asdict(record)
    raw["samples_s"] = list(raw["samples_s"])
    return raw


def _deploy(work: Workbench, chosen: Baseline) -> None:
    name = work.config.model or work.task.name
    deployed = {d.model: d for d in work.board.deployments()}
    if name in deployed and deployed[name].bundle_digest == chosen.bundle.digest:
        return
    work.board.deploy(
        chosen.bundle, model=name, variant=chosen.variant, on_progress=work.on_progress
    )
    shutil.copyfile(chosen.bundle.path, work.run.path / "bundle.tar")


def _answers(work: Workbench) -> list[dict[str, Any]]:
    """A few sentences nobody trained on, asked of the board."""
    rows = work.split.dev[:: max(1, len(work.split.dev) // ANSWERED_ROWS)][:ANSWERED_ROWS]
    texts = [row.text if row.text_pair is None else (row.text, row.text_pair) for row in rows]
    predictions = work.board.predict(texts, model=work.config.model or work.task.name)
    work.on_progress(Progress("answers", len(rows), len(rows)))
    return [
        {
            "text": row.text,
            "text_pair": row.text_pair,
            "expected": row.label,
            "answer": prediction.label or prediction.score,
            "score": prediction.score,
        }
        for row, prediction in zip(rows, predictions)
    ]


def _row(row: Baseline, measured: dict[str, Any]) -> dict[str, Any]:
    keep = (
        "scores",
        "trained_scores",
        "parameters",
        "artefact_bytes",
        "max_abs_error",
        "variant",
    )
    return {
        "key": row.key,
        "title": row.title,
        **{name: row.found[name] for name in keep},
        "measured": {
            board: {k: v for k, v in record.items() if k != "samples_s"}
            for board, record in measured.items()
        },
    }
