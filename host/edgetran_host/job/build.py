"""From a trained model to a bundle with scored variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.bundle import Bundle
from numpy.typing import NDArray

from edgetran_host.export import Exported, Graph, export_variants, run_graph
from edgetran_host.job.bench import Bench
from edgetran_host.models.text_model import TextModel
from edgetran_host.packing import pack
from edgetran_host.tasks import Row, Scores, Task, score
from edgetran_host.training import predict

GOLDEN_ROWS = 8
CALIBRATION_ROWS = 32  # of the training rows, for 8-bit graphs


@dataclass(frozen=True)
class Built:
    """A bundle and what came out of building it."""

    bundle: Bundle
    exported: tuple[Exported, ...]


def build(
    work: Bench,
    model: TextModel,
    tokenizer_json: bytes,
    name: str,
    precisions: tuple[str, ...],
    folder: Path,
    runtime: str = "onnxruntime",
) -> Built:
    """Exports, checks against the model on real rows, and packs."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = work.check_rows()
    check = work.encode(rows, tokenizer_json)
    calibration = work.encode(work.split.train[:CALIBRATION_ROWS], tokenizer_json)
    exported = export_variants(model, check, precisions, folder, runtime, calibration=calibration)
    bundle = pack(
        folder / f"{name}.tar",
        name=name,
        task=work.task,
        exported=exported,
        tokenizer_json=tokenizer_json,
        config=model.config,
        rows=rows[:GOLDEN_ROWS],
        encoded=check[:GOLDEN_ROWS],
        claims=[],
        licence=work.seed.licence,
    )
    return Built(bundle, tuple(exported))


def score_graph(
    work: Bench,
    graph: Graph,
    tokenizer_json: bytes,
    rows: tuple[Row, ...],
    task: Task,
    stage: str,
) -> Scores:
    """The metric of an exported graph on the task's rows."""
    return score(task, graph_outputs(work, graph, tokenizer_json, rows, stage))


def graph_outputs(
    work: Bench, graph: Graph, tokenizer_json: bytes, rows: tuple[Row, ...], stage: str
) -> NDArray[np.float32]:
    """Of an exported graph, run row by row as a board runs it."""
    return run_graph(
        graph.variant.runtime,
        graph.path,
        work.encode(rows, tokenizer_json),
        threads=work.threads,
        stage=stage,
        on_progress=work.on_progress,
    )


def score_model(work: Bench, model: TextModel, tokenizer_json: bytes, task: Task) -> Scores:
    """The metric of the model itself on the task's dev rows."""
    return score(task, predict(model, work.encode(task.dev, tokenizer_json), work.threads))


def rows_of(
    work: Bench, model: TextModel, tokenizer_json: bytes, built: Built
) -> list[dict[str, Any]]:
    """A row of the final table for each graph: its scores on dev beside the model's own."""
    rows, task = work.split.dev, work.task
    trained = score_model(work, model, tokenizer_json, task)
    found = []
    for exported in built.exported:
        stage = f"  score {built.bundle.path.stem} {exported.variant.precision}"
        scores = score_graph(work, exported, tokenizer_json, rows, task, stage)
        name = exported.variant.name
        found.append(
            {
                "scores": scores_to_json(scores),
                "trained_scores": scores_to_json(trained),
                "variant": name,
                "precision": exported.variant.precision,
                "max_abs_error": exported.variant.max_abs_error,
                "parameters": sum(p.numel() for p in model.parameters()),
                "artefact_bytes": artefact_bytes(built.bundle, name),
                "bundle": built.bundle.path.name,
            }
        )
    return found


def artefact_bytes(bundle: Bundle, variant: str) -> int:
    """What the board must hold to serve one variant: its graph and the tokenizer."""
    sizes = {blob.digest: blob.size_bytes for blob in bundle.blobs}
    return sizes[bundle.card.variant(variant).digest] + sizes[bundle.card.tokenizer_digest]


def scores_to_json(scores: Scores) -> dict[str, Any]:
    return {
        "metric": scores.metric,
        "value": scores.value,
        "low": scores.low,
        "high": scores.high,
        "others": dict(scores.others),
    }
