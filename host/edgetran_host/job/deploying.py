"""The whole job, stage by stage; a finished stage is never paid for again."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgetran.progress import OnProgress, Progress
from edgetran.results import Measurement
from edgetran_protos.bundle import Bundle, Claim
from edgetran_protos.errors import BudgetError

from edgetran_host.job.baselines import Baseline, baselines
from edgetran_host.job.build import build, rows_of
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.claims import claims
from edgetran_host.job.config import Budget
from edgetran_host.job.searching import Reference, Search, cost_on_board
from edgetran_host.job.teacher import check_same_request, describe_data, fine_tuned_seed, targets
from edgetran_host.job.visiting import visiting
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.packing import with_claims
from edgetran_host.search.objective import Cost, describe_excess, within
from edgetran_host.search.seeded_space import Design, keep_layers
from edgetran_host.training.loop import forget

CHOSEN = "chosen"
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
    chosen = _finish(work, nursery, tokenizer_json, Design(**found["best"]["design"]))
    rows = [*plain, chosen]
    measured = _measure(work, rows)
    _check_limits(chosen, measured[CHOSEN]["target"], Budget(**found["budget"]))
    _deploy(work, chosen, claims(chosen.found["scores"], measured[CHOSEN]["target"]))
    result = {
        "schema": RESULT_SCHEMA,
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
            "budget": dataclasses.asdict(searching.budget),
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
            len(work.split.taught),
            folder / "checkpoint",
            "final training",
        )
        save_model(model, folder / "model", trimmed)
        forget(folder / "checkpoint")
        built = build(work, model, trimmed, work.served_name, (design.precision,), folder)
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
            with visiting(board, [row.bundle for row in rows]):
                records = board.measure(
                    [(row.bundle.digest, row.variant) for row in rows],
                    on_progress=_as_one_stage(work, f"measuring ({name})"),
                )
            for row, record in zip(rows, records):
                found[row.key][name] = _record(record)
        return found

    return work.run.once("measurements", measure)


def _as_one_stage(work: Workbench, stage: str) -> OnProgress:
    """Loading and warming up are shown as the beginning of the measurement they lead to."""

    def listen(event: Progress) -> None:
        done = event.done if event.stage == "measure" else 0
        work.on_progress(Progress(stage, done, event.total, event.stage))

    return listen


def _record(record: Measurement) -> dict[str, Any]:
    """All of it, raw samples included, so that every figure can be derived again."""
    raw = dataclasses.asdict(record)
    raw["samples_s"] = list(raw["samples_s"])
    return raw


def _check_limits(chosen: Baseline, record: dict[str, Any], budget: Budget) -> None:
    """Raises BudgetError when the trained winner, measured again, breaks a limit."""
    energy, power = record["energy_j"], record["peak_power_w"]
    cost = Cost(
        latency_s=record["latency_p50_s"]["value"],
        energy_j=energy["value"] if energy else None,
        peak_power_w=power["value"] if power else None,
        size_bytes=float(chosen.found["artefact_bytes"]),
        modelled=record["modelled"],
    )
    if not within(cost, budget):
        raise BudgetError(
            f"measured again, {chosen.title} breaks a limit: {describe_excess(cost, budget)}",
            hint="nothing was deployed; loosen that limit, or search again with another --run",
        )


def _deploy(work: Workbench, chosen: Baseline, promised: list[Claim]) -> None:
    """Puts the winner on the board, with what it promises on its card."""
    lost = chosen.found["trained_scores"]["value"] - chosen.found["scores"]["value"]
    bundle = with_claims(
        chosen.bundle, promised, work.run.path / "bundle.tar", {chosen.variant: lost}
    )
    deployed = {entry.model: entry.bundle_digest for entry in work.board.deployments()}
    if deployed.get(work.served_name) != bundle.digest:
        work.board.deploy(
            bundle,
            model=work.served_name,
            variant=chosen.variant,
            on_progress=work.on_progress,
        )


def _answers(work: Workbench) -> list[dict[str, Any]]:
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
            board: {k: v for k, v in record.items() if k not in ("samples_s", "document")}
            for board, record in measured.items()
        },
    }
