"""First stages of a job: the data, and the seed fine-tuned to teach everything after it."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import canonical_json
from edgetran_protos.errors import UsageError

from edgetran_host.job.bench import Bench
from edgetran_host.job.build import scores_to_json
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.seeds import seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.tasks import Row, floor_score, score
from edgetran_host.training import Targets, fine_tune, predict, teacher_targets
from edgetran_host.training.loop import forget
from edgetran_host.training.recipes import Effort

# What an effort had before it was told: a run that began earlier is the same request.
LATER = {field.name: field.default for field in fields(Effort) if field.default is not MISSING}


def describe_data(work: Bench) -> dict[str, Any]:
    """Rows, labels, sequence length, and the bag-of-words floor on dev."""
    return {
        "task": work.task.name,
        "kind": work.task.kind,
        "labels": list(work.task.labels),
        "metric": work.task.metric,
        "rows": {
            "train": len(work.split.train),
            "further": len(work.split.further),
            "valid": len(work.split.valid),
            "dev": len(work.split.dev),
            **({"made": len(work.split.made)} if work.split.made else {}),
        },
        "digest": work.rows_digest(),
        "effort": asdict(work.effort),
        "sequence_length": work.sequence_length,
        "floor": scores_to_json(floor_score(work.task)),
    }


def check_same_request(work: Bench, data: dict[str, Any]) -> None:
    """Raises UsageError when rows or recipes are not those that the run began with."""
    changed = {
        f"the rows of {work.config.data}": data["digest"] != work.rows_digest(),
        f"what --effort {work.config.effort} means": canonical_json(LATER | data["effort"])
        != canonical_json(asdict(work.effort)),
    }
    for what, differs in changed.items():
        if differs:
            raise UsageError(
                f"{what} changed since the run in {work.run.path} began",
                hint="start anew with another --run, or bring back what it began with",
            )


def fine_tuned_seed(work: Bench) -> tuple[TextModel, bytes]:
    """The seed fine-tuned on the task; trained once, loaded afterwards."""
    folder = work.run.folder("seed")

    def train() -> dict[str, Any]:
        model = seed_model(work.seed, work.outputs, work.sequence_length)
        fine_tune(
            model,
            work.encode(work.split.train, work.seed.tokenizer_json),
            work.task,
            work.seed_recipe,
            checkpoint=folder / "checkpoint",
            threads=work.threads,
            on_progress=work.on_progress,
        )
        save_model(model, folder / "model", work.seed.tokenizer_json)
        forget(folder / "checkpoint")
        found = {}
        for name, rows, task in (
            ("valid", work.split.valid, work.valid_task),
            ("dev", work.split.dev, work.task),
        ):
            data = work.encode(rows, work.seed.tokenizer_json)
            found[name] = scores_to_json(score(task, predict(model, data, work.threads)))
        return found

    work.run.once("seed", train)
    return load_model(folder / "model")


def targets_file(work: Bench) -> Path:
    return work.run.folder("seed") / "targets.safetensors"


def targets(work: Bench, teacher: TextModel, tokenizer_json: bytes) -> Targets:
    """What the teacher says about every row a design may learn from; computed once."""
    return _said(work, teacher, tokenizer_json, work.split.taught, targets_file(work))


def answers_file(work: Bench) -> Path:
    return work.run.folder("seed") / "answers.safetensors"


def answers(work: Bench, teacher: TextModel, tokenizer_json: bytes) -> Targets:
    """What the teacher says about the held-out rows; computed once."""
    return _said(work, teacher, tokenizer_json, work.split.valid, answers_file(work))


def _said(
    work: Bench, teacher: TextModel, tokenizer_json: bytes, rows: tuple[Row, ...], file: Path
) -> Targets:
    if file.exists():
        return Targets.load(file)
    found = teacher_targets(
        teacher,
        work.encode(rows, tokenizer_json),
        threads=work.threads,
        on_progress=work.on_progress,
    )
    found.save(file)
    return found
