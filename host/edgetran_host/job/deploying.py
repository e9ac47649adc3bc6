"""The whole job, stage by stage; a finished stage is never paid for again."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from edgetran import Board
from edgetran.progress import OnProgress, Progress
from edgetran_protos.bundle import Bundle

from edgetran_host.job.baselines import Baseline, baselines
from edgetran_host.job.build import score_model, scores_to_json
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.config import Budget
from edgetran_host.job.offers import (
    SEARCHED_RUNTIME,
    Offers,
    Trained,
    fastest,
    make_offers,
    table,
)
from edgetran_host.job.releasing import CHOSEN, REFINED, release
from edgetran_host.job.searching import Reference, Search, cost_on_board
from edgetran_host.job.teacher import check_same_request, describe_data, fine_tuned_seed, targets
from edgetran_host.job.visiting import visiting
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.search.seeded_space import Design, keep_layers
from edgetran_host.training.loop import forget

ANSWERED_ROWS = 3
RESULT_SCHEMA = 1


def deploy_job(work: Workbench) -> dict[str, Any]:
    """Runs or continues the job; returns what `result.json` holds."""
    data = work.run.once("data", lambda: describe_data(work))
    check_same_request(work, data)
    teacher, tokenizer_json = fine_tuned_seed(work)
    nursery = Nursery(work, teacher, tokenizer_json)
    plain = baselines(work, nursery, tokenizer_json)
    found = _search(work, nursery, tokenizer_json, plain[0])
    design = Design(**found["best"]["design"])
    finished = _finish(work, nursery, tokenizer_json, design)
    offers = make_offers(work, trained_design(work, design, finished))
    measured = measured_rows(work, plain, offers, Budget(**found["budget"]))
    serving = measured["serving"]
    rows = [*plain, chosen_row(design, finished, offers, serving)]
    serves = put_on_board(work, offers, serving)
    result = {
        "schema": RESULT_SCHEMA,
        "config": work.config.to_json(),
        "run": str(work.run.path),
        "data": data,
        "search": found,
        "rows": [table_row(row, measured[row.key]) for row in rows],
        "boards": {
            "target": dataclasses.asdict(work.board.describe()),
            "reference": dataclasses.asdict(work.reference.describe()),
        },
        "offers": table(offers, measured["offers"], serving),
        "answers": answered(work) if serves else (work.run.result() or {}).get("answers", []),
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
            "budget": dataclasses.asdict(searching.budget),
            "model": str(searching.model_folder(best.design).relative_to(work.run.path)),
            "trials": searching.history(),
            "refused": searching.refused(),
        }

    return work.run.once("search", search)


def _finish(
    work: Workbench, nursery: Nursery, tokenizer_json: bytes, design: Design
) -> dict[str, Any]:
    """Trains the winner on, from its trial's weights."""
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
            len(work.split.taught),
            folder / "checkpoint",
            "final training",
        )
        save_model(model, folder / "model", trimmed)
        forget(folder / "checkpoint")
        return {
            "design": dataclasses.asdict(design),
            "parameters": sum(p.numel() for p in model.parameters()),
            "trained_scores": scores_to_json(score_model(work, model, trimmed, work.task)),
            "held_out": score_model(work, model, trimmed, work.valid_task).value,
        }

    return work.run.once("trained", finish)


def trained_design(work: Workbench, design: Design, finished: dict[str, Any]) -> Trained:
    folder = work.run.folder(CHOSEN)
    model, tokenizer_json = load_model(folder / "model")
    return Trained(model, tokenizer_json, design.precision, finished["held_out"], folder)


def chosen_row(design: Design, finished: dict[str, Any], offers: Offers, variant: str) -> Baseline:
    """The winner's row of the final table, as it serves."""
    offer = offers.offer(variant)
    label = dataclasses.replace(design, precision=offer.precision).label()
    runtime = "" if offer.runtime == SEARCHED_RUNTIME else f" {offer.runtime}"
    return served_row(f"chosen: {label}{runtime}", finished, offers, variant)


def served_row(title: str, finished: dict[str, Any], offers: Offers, variant: str) -> Baseline:
    """finished: parameters and scores of the trained model."""
    offer = offers.offer(variant)
    found = {
        "scores": offer.found["scores"],
        "trained_scores": finished["trained_scores"],
        "parameters": finished["parameters"],
        "artefact_bytes": offers.size_bytes(variant),
        "max_abs_error": offer.found["variant"]["max_abs_error"],
        "variant": variant,
    }
    return Baseline(CHOSEN, title, offers.bundle, variant, found)


def measured_rows(
    work: Workbench, plain: list[Baseline], offers: Offers, budget: Budget
) -> dict[str, Any]:
    """Every row on the target, each time in turn with the others; then on this machine.

    Of the winner's variants the target measures all, this machine the one that serves.
    """
    rows = [(row.bundle, row.variant) for row in plain]

    def measure() -> dict[str, Any]:
        variants = [(offers.bundle, offer.name) for offer in offers.packed]
        records = _records(work, work.board, "target", [*rows, *variants])
        by_variant = {name: record for (_, name), record in zip(variants, records[len(rows) :])}
        serving = fastest(offers, by_variant, budget)
        kept: dict[str, Any] = {"offers": by_variant, "serving": serving}
        for row, record in zip(plain, records):
            kept[row.key] = {"target": record}
        kept[CHOSEN] = {"target": by_variant[serving]}
        if work.config.target != "local":
            again = _records(work, work.reference, "reference", [*rows, (offers.bundle, serving)])
            for key, record in zip([*(row.key for row in plain), CHOSEN], again):
                kept[key]["reference"] = record
        return kept

    found = work.run.stage("measurements")
    if found is not None and set(found.get("offers", ())) == {
        offer.name for offer in offers.packed
    }:
        return found
    return work.run.finish("measurements", measure())


def _records(
    work: Workbench, board: Board, name: str, subjects: list[tuple[Bundle, str]]
) -> list[dict[str, Any]]:
    """All of each record, raw samples included, so that every figure can be derived again."""
    with visiting(board, [bundle for bundle, _ in subjects], work.on_progress):
        records = board.measure(
            [(bundle.digest, variant) for bundle, variant in subjects],
            on_progress=_as_one_stage(work, f"measuring ({name})"),
        )
    return [{**dataclasses.asdict(r), "samples_s": list(r.samples_s)} for r in records]


def _as_one_stage(work: Workbench, stage: str) -> OnProgress:
    """Loading and warming up are shown as the beginning of the measurement they lead to."""

    def listen(event: Progress) -> None:
        done = event.done if event.stage == "measure" else 0
        work.on_progress(Progress(stage, done, event.total, event.stage))

    return listen


def put_on_board(work: Workbench, offers: Offers, serving: str) -> bool:
    """Puts the winner on the board, with what each variant promises on its card.

    False where what came out of this very bundle serves in its place, and stays: what the board
    answers is then not the winner's.
    """
    work.run.once("release", lambda: {"sequence": int(time.time())})
    bundle = release(work.run, offers.bundle, work.run.path / "bundle.tar")
    deployed = {
        entry.model: (entry.bundle_digest, entry.variant) for entry in work.board.deployments()
    }
    if work.served_name in deployed and deployed[work.served_name][0] == _refined(work):
        return False
    if deployed.get(work.served_name) != (bundle.digest, serving):
        with work.board.lease(wait=True, on_progress=work.on_progress):  # another may measure
            work.board.deploy(
                bundle,
                model=work.served_name,
                variant=serving,
                allow_older=work.allow_older,
                on_progress=work.on_progress,
            )
    return True


def _refined(work: Workbench) -> str | None:
    """The digest of what a refinement of this run deployed."""
    bundle = work.run.path / REFINED / "bundle.tar"
    return Bundle.open(bundle).digest if bundle.exists() else None


def answered(work: Workbench) -> list[dict[str, Any]]:
    """A few sentences nobody trained on, asked of the board."""
    rows = work.split.dev[:: max(1, len(work.split.dev) // ANSWERED_ROWS)][:ANSWERED_ROWS]
    texts = [row.text if row.text_pair is None else (row.text, row.text_pair) for row in rows]
    predictions = work.board.predict(texts, model=work.served_name)
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


def table_row(row: Baseline, measured: dict[str, Any]) -> dict[str, Any]:
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
            board: {k: v for k, v in record.items() if k not in ("samples_s", "document")}
            for board, record in measured.items()
        },
    }
