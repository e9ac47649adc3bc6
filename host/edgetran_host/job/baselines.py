"""What costs nothing: the fine-tuned seed as it is, in int8, and with a trimmed vocabulary.

They stand in the final table so that nobody takes quantisation for search.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from edgetran.progress import Progress
from edgetran_protos.bundle import Bundle

from edgetran_host.job.build import build, rows_of
from edgetran_host.job.child import Nursery
from edgetran_host.job.workbench import Workbench

STAGE = "baselines"
TRIMMED_PIECES = 8000
TITLES = {  # in the order of the final table; the first is what the others are compared with
    "seed-fp32": "seed, fp32",
    "seed-int8": "seed, int8",
    "seed-int8-trimmed": "seed, int8, trimmed vocabulary",
}


@dataclass(frozen=True)
class Baseline:
    """One row of the final table before it is measured."""

    key: str  # "seed-fp32", "seed-int8", "seed-int8-trimmed"
    title: str
    bundle: Bundle
    variant: str
    found: dict[str, Any]  # as `build.rows_of` gives it


def baselines(work: Workbench, nursery: Nursery, tokenizer_json: bytes) -> list[Baseline]:
    """Builds and scores them; built once, opened afterwards."""
    folder = work.run.folder("baselines")

    def make() -> dict[str, Any]:
        work.on_progress(Progress(STAGE, 0, 2))
        whole = build(work, nursery.teacher, tokenizer_json, "seed", ("fp32", "int8"), folder)
        found = {
            f"seed-{row['precision']}": row
            for row in rows_of(work, nursery.teacher, tokenizer_json, whole)
        }
        work.on_progress(Progress(STAGE, 1, 2))
        space = nursery.space()
        sizes = [size for size in space.vocabulary if size]
        if sizes:
            pieces = TRIMMED_PIECES if TRIMMED_PIECES in sizes else max(sizes)
            design = dataclasses.replace(space.seed_point(), vocabulary=pieces, precision="int8")
            child = nursery.child(design)
            built = build(
                work, child.model, child.tokenizer_json, "seed-trimmed", ("int8",), folder
            )
            found["seed-int8-trimmed"] = rows_of(work, child.model, child.tokenizer_json, built)[0]
        work.on_progress(Progress(STAGE, 2, 2))
        return found

    found = work.run.once("baselines", make)
    return [
        Baseline(
            key=key,
            title=TITLES[key],
            bundle=Bundle.open(folder / found[key]["bundle"]),
            variant=found[key]["variant"],
            found=found[key],
        )
        for key in TITLES
        if key in found
    ]
