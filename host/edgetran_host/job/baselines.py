"""What costs nothing: the fine-tuned seed as it is, in int8, and with a trimmed vocabulary.

They stand in the final table so that nobody takes quantisation for search.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from edgetran.progress import Progress
from edgetran_protos.bundle import Bundle

from edgetran_host.job.build import artefact_bytes, build, score_graph, scores_to_json
from edgetran_host.job.child import Nursery
from edgetran_host.job.workbench import Workbench
from edgetran_host.search.seeded_space import VOCABULARY_SIZES, SeededSpace

TRIMMED_PIECES = VOCABULARY_SIZES[1]


@dataclass(frozen=True)
class Baseline:
    """One row of the final table before it is measured."""

    key: str  # "seed-fp32", "seed-int8", "seed-int8-trimmed"
    title: str
    bundle: Bundle
    variant: str
    found: dict[str, Any]  # scores, parameters, bytes


def baselines(work: Workbench, nursery: Nursery, tokenizer_json: bytes) -> list[Baseline]:
    """Builds and scores the three; built once, opened afterwards."""
    folder = work.run.folder("baselines")

    def make() -> dict[str, Any]:
        steps = 3.0

        def step(done: float) -> None:
            work.on_progress(Progress("baselines", done, steps))

        step(0)
        whole = build(work, nursery.teacher, tokenizer_json, "seed", ("fp32", "int8"), folder)
        found = {}
        for done, exported in enumerate(whole.exported, start=1):
            precision = exported.variant.precision
            scores, _ = score_graph(work, exported.path, tokenizer_json, work.split.dev, work.task)
            found[f"seed-{precision}"] = {
                "scores": scores_to_json(scores),
                "variant": exported.variant.name,
                "max_abs_error": exported.variant.max_abs_error,
                "parameters": parameters(nursery.teacher),
                "artefact_bytes": artefact_bytes(whole.bundle, exported.variant.name),
                "bundle": whole.bundle.path.name,
            }
            step(done)
        space = SeededSpace.around(nursery.teacher.config)
        design = dataclasses.replace(
            space.seed_point(), vocabulary=min(TRIMMED_PIECES, *_sizes(space)), precision="int8"
        )
        child = nursery.child(design)
        trimmed = build(work, child.model, child.tokenizer_json, "seed-trimmed", ("int8",), folder)
        variant = trimmed.exported[0].variant
        scores, _ = score_graph(
            work, trimmed.exported[0].path, child.tokenizer_json, work.split.dev, work.task
        )
        found["seed-int8-trimmed"] = {
            "scores": scores_to_json(scores),
            "variant": variant.name,
            "max_abs_error": variant.max_abs_error,
            "parameters": parameters(child.model),
            "artefact_bytes": artefact_bytes(trimmed.bundle, variant.name),
            "bundle": trimmed.bundle.path.name,
        }
        step(steps)
        return found

    found = work.run.once("baselines", make)
    titles = {
        "seed-fp32": "seed, fp32",
        "seed-int8": "seed, int8",
        "seed-int8-trimmed": "seed, int8, trimmed vocabulary",
    }
    return [
        Baseline(
            key=key,
            title=title,
            bundle=Bundle.open(folder / found[key]["bundle"]),
            variant=found[key]["variant"],
            found=found[key],
        )
        for key, title in titles.items()
    ]


def parameters(model: Any) -> int:
    """Weights of a model, each counted once."""
    return sum(p.numel() for p in model.parameters())


def _sizes(space: SeededSpace) -> list[int]:
    return [size for size in space.vocabulary if size] or [TRIMMED_PIECES]
