"""Refines a finished run: its chosen model grown and pruned, then deployed if it is better."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgetran
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.errors import DataError, UsageError

from edgetran_host.engine import Engine, open_engine
from edgetran_host.job.baselines import Baseline, baselines
from edgetran_host.job.bench import Bench
from edgetran_host.job.build import score_model, scores_to_json
from edgetran_host.job.child import Child, Nursery, teach
from edgetran_host.job.config import Budget
from edgetran_host.job.deploying import (
    RESULT_SCHEMA,
    answered,
    chosen_row,
    measured_rows,
    put_on_board,
    served_row,
    table_row,
    trained_design,
)
from edgetran_host.job.offers import SEARCHED_RUNTIME, Offers, Trained, make_offers, table
from edgetran_host.job.origin import origin_of
from edgetran_host.job.releasing import CHOSEN
from edgetran_host.job.report import write_report
from edgetran_host.job.run_directory import RunDirectory, write_atomically
from edgetran_host.job.running import check_runtime, check_takes_unsigned, free_cores
from edgetran_host.job.searching import Reference
from edgetran_host.job.teacher import check_same_request, fine_tuned_seed
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.seeds import load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.ablations import folder_name
from edgetran_host.refine.efforts import STEP_RATE
from edgetran_host.refine.held_out import held_out_loss
from edgetran_host.refine.node import ROOT, Node
from edgetran_host.refine.refining import Refinement
from edgetran_host.refine.settings import Settings
from edgetran_host.search.objective import Cost
from edgetran_host.search.seeded_space import Design
from edgetran_host.tasks import Task, load_task
from edgetran_host.training import Targets
from edgetran_host.training.divergence import Diverged
from edgetran_host.training.loop import forget
from edgetran_host.training.recipes import effort

SEARCHED = "searched"  # the row of the model that the search chose


@dataclass(frozen=True)
class Machines:
    engine: str = "local"  # of `engine.ENGINES`
    workers: int = 1  # children that are trained at a time


@dataclass(frozen=True)
class Start:
    """What a finished run left for its refinement."""

    nursery: Nursery
    targets: Targets | None  # None: labels alone teach
    answers: Targets | None  # of the fine-tuned seed to held-out rows, likewise
    design: Design
    offers: Offers  # of the model that the search chose
    plain: list[Baseline]
    result: dict[str, Any]


def refine_run(
    path: Path,
    settings: Settings,
    *,
    threads: int | None = None,
    machines: Machines | None = None,
    allow_older: bool = False,
    on_progress: OnProgress = ignore,
) -> dict[str, Any]:
    """Runs or continues the refinement of the run at `path`; returns its figures.

    machines: where a round's children are trained side by side; None: here, one after the other.
    Raises UsageError for a run that is not finished, or whose refinement began otherwise.
    """
    run = RunDirectory(path)
    config, result = run.config(), run.result()
    if result is None:
        raise UsageError(
            f"{path} is not finished", hint="give its `edgetran deploy` command again, then refine"
        )
    rows = config.train_rows or effort(config.effort).distillation_rows
    task, seed = _rows_again(config.data, rows), load_seed(config.seed)
    count = threads or max(1, free_cores() // (machines.workers if machines else 1))
    on_progress = _one_at_a_time(on_progress)
    with (
        edgetran.connect(config.target, threads=count) as board,
        edgetran.connect("local", threads=count) as reference,
    ):
        check_runtime(board.describe())
        check_takes_unsigned(board)
        with run.locked():
            work = Workbench(
                config, task, seed, run, count, on_progress, board, reference, allow_older
            )
            own_folder = path / folder_name(settings.without)
            own = dataclasses.replace(work, run=RunDirectory.create(own_folder, config))
            _check_settings(own, settings)
            found = _refined(work, own, result, settings, machines)
            write_report(own.run, found)
    return found


def _rows_again(data: str, limit: int | None) -> Task:
    try:
        return load_task(data, limit=limit)
    except DataError as exc:
        raise DataError(
            f"the rows of the run cannot be had again: {exc}",
            hint="refine where `edgetran deploy` was given, with the files that it was given",
        ) from exc


def _opened(machines: Machines | None, threads: int) -> AbstractContextManager[Engine | None]:
    if machines is None:
        return nullcontext()
    return open_engine(machines.engine, slots=machines.workers, threads=threads)


def _one_at_a_time(on_progress: OnProgress) -> OnProgress:
    """Workers tell how far they are from threads of their own."""
    turn = threading.Lock()

    def listen(event: Progress) -> None:
        with turn:
            on_progress(event)

    return listen


def _check_settings(own: Workbench, settings: Settings) -> None:
    asked = dataclasses.asdict(settings)
    kept = own.run.once("settings", lambda: _plain(asked))
    changed = sorted(name for name in asked if _plain(asked)[name] != kept.get(name))
    changed = [name for name in changed if name != "rounds"]
    if changed:
        raise UsageError(
            f"the refinement in {own.run.path} began with another {', '.join(changed)}",
            hint="give the same again (more --rounds are possible), or remove that folder",
        )


def _refined(
    work: Workbench,
    own: Workbench,
    result: dict[str, Any],
    settings: Settings,
    machines: Machines | None,
) -> dict[str, Any]:
    check_same_request(work, work.run.stage("data") or {})
    start = _start(work, result, settings)
    found = result["search"]
    reference = Reference(
        cost=Cost(**found["reference"]["cost"]), score=found["reference"]["score"]
    )
    with _opened(machines, work.threads) as engine:
        refinement = Refinement(
            work,
            start.nursery,
            reference,
            Budget(**found["budget"]),
            start.design.precision,
            work.run.folder(CHOSEN) / "model",
            own.run.folder("tree"),
            settings,
            engine,
        )
        best = refinement.run()
    drawn = {
        "nodes": [node.to_json() for node in refinement.tree.nodes.values()],
        "rounds": [one.to_json() for one in refinement.tree.rounds],
        "best": best.number,
        "importance": settings.importance,
        "without": list(settings.without),
    }
    if best.number == ROOT:  # what serves stays as it is
        refined = {**result, "refinement": drawn}
    else:
        folder = own.run.path / f"node-{best.number}"
        last = dataclasses.replace(own, run=RunDirectory.create(folder, own.config))
        origin_of(last, _plain(dataclasses.asdict(settings)))  # noted before the first packing
        model, tokenizer_json = refinement.model(best.number)
        trained = _finished(last, start, best, model, tokenizer_json)
        found = _measured(last, start, best, trained, serve=not settings.without)
        refined = {**found, "refinement": drawn}
    own.run.write_result(refined)
    return refined


def _measured(
    last: Workbench, start: Start, best: Node, trained: Trained, *, serve: bool
) -> dict[str, Any]:
    """Offers of the best node, measured in turn with what it came from; the best may serve."""
    found = start.result["search"]
    offers = make_offers(last, trained)
    measured = measured_rows(last, start.plain, offers, Budget(**found["budget"]))
    serving = measured["serving"]
    if serve:
        put_on_board(last, offers, serving)
        kept = last.run.path.parent / "bundle.tar"
        write_atomically(kept, (last.run.path / "bundle.tar").read_bytes())
    rows = [*start.plain, _row(last, best, offers, serving)]
    return {
        "schema": RESULT_SCHEMA,
        "config": last.config.to_json(),
        "run": str(last.run.path.parent),
        "data": start.result["data"],
        "search": found,
        "rows": [table_row(row, measured[row.key]) for row in rows],
        "boards": {
            "target": dataclasses.asdict(last.board.describe()),
            "reference": dataclasses.asdict(last.reference.describe()),
        },
        "offers": table(offers, measured["offers"], serving),
        "answers": answered(last) if serve else start.result["answers"],
    }


def _start(work: Workbench, result: dict[str, Any], settings: Settings) -> Start:
    teacher, tokenizer_json = fine_tuned_seed(work)
    nursery = Nursery(work, teacher, tokenizer_json)
    design = Design(**result["search"]["best"]["design"])
    finished = work.run.stage("trained") or {}
    offers = make_offers(work, trained_design(work, design, finished))
    serving = next(offer["variant"] for offer in result["offers"] if offer["serves"])
    searched = chosen_row(design, finished, offers, serving)
    searched = dataclasses.replace(
        searched, key=SEARCHED, title=searched.title.replace("chosen", "searched", 1)
    )
    plain = [*baselines(work, nursery, tokenizer_json), searched]
    taught = said = None
    if settings.taught:
        taught, said = nursery.targets(), nursery.answers()
    return Start(nursery, taught, said, design, offers, plain, result)


def _finished(
    last: Workbench, start: Start, best: Node, model: TextModel, tokenizer_json: bytes
) -> Trained:
    """The best node as it is to serve, where offers are made from."""
    folder = last.run.folder(CHOSEN)

    def finish() -> dict[str, Any]:
        checkpoint = folder / "checkpoint"
        kept = trained_on(
            last, Child(model, tokenizer_json, ()), start.targets, start.answers, checkpoint
        )
        save_model(kept, folder / "model", tokenizer_json)
        forget(checkpoint)
        return {
            "parameters": best.parameters,
            "trained_scores": scores_to_json(score_model(last, kept, tokenizer_json, last.task)),
            "held_out": score_model(last, kept, tokenizer_json, last.valid_task).value,
        }

    finished = last.run.once("trained", finish)
    trained, _ = load_model(folder / "model")
    return Trained(trained, tokenizer_json, best.precision, finished["held_out"], folder)


def trained_on(
    work: Bench, child: Child, targets: Targets | None, answers: Targets | None, checkpoint: Path
) -> TextModel:
    """After all rows once more, or as it was where that has a greater loss on held-out rows.

    targets, answers: the seed's; None: labels alone teach and judge.
    """
    recipe, before = work.effort.final_recipe, copy.deepcopy(child.model)
    recipe = dataclasses.replace(recipe, learning_rate=STEP_RATE * recipe.learning_rate)
    try:
        teach(work, child, targets, recipe, len(work.split.taught), checkpoint, "final training")
    except Diverged:
        return before
    old, new = (
        held_out_loss(work, model, child.tokenizer_json, answers) for model in (before, child.model)
    )
    return child.model if new <= old else before


def _row(last: Workbench, best: Node, offers: Offers, variant: str) -> Baseline:
    """As it serves, in the row of the final table that stands for what was chosen."""
    layers, offer = len(best.architecture.layers), offers.offer(variant)
    runtime = "" if offer.runtime == SEARCHED_RUNTIME else f" {offer.runtime}"
    title = f"refined: {layers}L, node {best.number}, {offer.precision}{runtime}"
    return served_row(title, last.run.stage("trained") or {}, offers, variant)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As JSON would give it back."""
    found: dict[str, Any] = json.loads(json.dumps(settings))
    return found
