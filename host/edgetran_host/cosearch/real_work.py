"""What evaluating a design takes, as tasks that an engine runs: teach, cut, train, export, score.

EVALUATIONS/stages, seed           the teacher, its targets and saliency, as a deploy run's
EVALUATIONS/designs/PIECES/ID/...  weights of a trained design, by fidelity and seed
EVALUATIONS/bundles/PIECES         untrained designs on their way to a board

A process keeps the data and the teacher for its next task.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgetran.progress import OnProgress
from edgetran_protos.errors import DataError, ExportError

from edgetran_host.cosearch.assignment import FULL, SHORT, TRANSFER, training
from edgetran_host.export import export_variants
from edgetran_host.job.bench import Bench, bench_at
from edgetran_host.job.build import CALIBRATION_ROWS, build, score_graph
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.teacher import check_same_request, describe_data, fine_tuned_seed
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.seeds import seed_digest
from edgetran_host.search.seeded_space import keep_layers
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id
from edgetran_host.training.loop import forget

DIGITS = 16  # of a design's name in folders
SHOWN_DIGITS = 6


@dataclass(frozen=True)
class Trainee:
    """A design at one fidelity, and where everything about it lies."""

    folder: Path  # EVALUATIONS
    architecture: Architecture
    vocabulary: int | None
    fidelity: str
    seed: int
    threads: int

    @property
    def name(self) -> str:
        return architecture_id(self.architecture)[:SHOWN_DIGITS]

    @property
    def place(self) -> Path:
        design = architecture_id(self.architecture)[:DIGITS]
        pieces = str(self.vocabulary or "all")
        return self.folder / "designs" / pieces / design / f"{self.fidelity}-{self.seed}"

    @property
    def weights(self) -> Path:
        return self.place / "model"


def prepare(
    folder: Path, vocabulary: int | None, threads: int, on_progress: OnProgress
) -> dict[str, Any]:
    """The teacher and what is worked out of it once; tells what keys and reports need."""
    bench = _bench(folder, threads, on_progress)
    data = bench.run.once("data", lambda: describe_data(bench))
    check_same_request(bench, data)
    fine_tuned_seed(bench)
    nursery = _nursery(folder, threads, on_progress)
    nursery.teacher_saliency()
    nursery.targets()
    if vocabulary is not None:
        nursery.trimmed(vocabulary)
    return {"data": data, "seed": seed_digest(bench.seed), "teacher": bench.run.stage("seed")}


def write_bundle(
    trainee: Trainee, runtime: str, precision: str, path: Path, on_progress: OnProgress
) -> None:
    """An untrained design as boards take it: what it costs does not depend on its training."""
    bench, nursery = _at(trainee, on_progress)
    child = nursery.cut(trainee.architecture, trainee.vocabulary)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.TemporaryDirectory(dir=path.parent, prefix=".make-")
    with scratch as place, _told(trainee, runtime, precision):
        made = (child.model, child.tokenizer_json, "trial", (precision,), Path(place), runtime)
        build(bench, *made).bundle.path.replace(path)


def train(trainee: Trainee, on_progress: OnProgress) -> dict[str, Any]:
    """Goes on from a checkpoint on this disk; does nothing where the weights are here."""
    began_s = time.monotonic()
    if trainee.fidelity == TRANSFER or trainee.weights.exists():
        return {"seconds": 0.0}
    bench, nursery = _at(trainee, on_progress)
    child = _before(trainee, on_progress)
    recipe, rows = training(bench.config.effort, trainee.fidelity, trainee.seed)
    nursery.distil(
        child,
        nursery.targets(),
        recipe,
        len(bench.split.taught) if rows is None else rows,
        trainee.place / "checkpoint",
        f"{trainee.fidelity} training of {trainee.name}",
    )
    save_model(child.model, trainee.weights, child.tokenizer_json)
    forget(trainee.place / "checkpoint")
    return {"seconds": time.monotonic() - began_s}


def score(
    trainee: Trainee, runtime: str, precision: str, on_progress: OnProgress
) -> dict[str, Any]:
    """Of the exported graph on held-out rows; weights that are not here are trained first."""
    train(trainee, on_progress)
    bench, nursery = _at(trainee, on_progress)
    if trainee.fidelity == TRANSFER:
        child = nursery.cut(trainee.architecture, trainee.vocabulary)
        model, tokenizer_json = child.model, child.tokenizer_json
    else:
        model, tokenizer_json = load_model(trainee.weights)
    calibration = bench.encode(bench.split.train[:CALIBRATION_ROWS], tokenizer_json)
    check = bench.encode(bench.check_rows(), tokenizer_json)
    with tempfile.TemporaryDirectory(prefix="edgetran-score-") as place:
        with _told(trainee, runtime, precision):
            graph = export_variants(
                model, check, (precision,), Path(place), runtime, calibration=calibration
            )[0]
        stage = f"score of {trainee.name}, {runtime} {precision}"
        found = score_graph(
            bench, graph, tokenizer_json, bench.split.valid, bench.valid_task, stage
        )
    return {
        "score": found.value,
        "low": found.low,
        "high": found.high,
        "max_abs_error": graph.variant.max_abs_error,
    }


def _before(trainee: Trainee, on_progress: OnProgress) -> Child:
    """What the fidelity's training begins with: a full one goes on from a short one."""
    bench, nursery = _at(trainee, on_progress)
    if trainee.fidelity == SHORT:
        return nursery.cut(trainee.architecture, trainee.vocabulary)
    assert trainee.fidelity == FULL
    short = dataclasses.replace(trainee, fidelity=SHORT)
    train(short, on_progress)
    model, tokenizer_json = load_model(short.weights)
    layers = len(bench.seed.config.architecture.layers)
    return Child(model, tokenizer_json, keep_layers(layers, len(trainee.architecture.layers)))


def _at(trainee: Trainee, on_progress: OnProgress) -> tuple[Bench, Nursery]:
    found = trainee.folder, trainee.threads, on_progress
    return _bench(*found), _nursery(*found)


def _bench(folder: Path, threads: int, on_progress: OnProgress) -> Bench:
    bench = bench_at(folder, threads)
    bench.on_progress = on_progress
    return bench


def _nursery(folder: Path, threads: int, on_progress: OnProgress) -> Nursery:
    _bench(folder, threads, on_progress)  # which the nursery shares
    return _nursery_of(folder, threads)


@lru_cache(maxsize=1)
def _nursery_of(folder: Path, threads: int) -> Nursery:
    teacher, tokenizer_json = load_model(folder / "seed" / "model")
    return Nursery(bench_at(folder, threads), teacher, tokenizer_json)


@contextmanager
def _told(trainee: Trainee, runtime: str, precision: str) -> Iterator[None]:
    """A design that this runtime cannot have is no defect of the search."""
    try:
        yield
    except ExportError as error:
        raise DataError(
            f"design {trainee.name} cannot be had as {runtime} {precision}: {error}",
            hint=error.hint,
        ) from error
