"""The search stage: ask for a design, measure it on the board, train it briefly, tell.

Cost comes first, because it needs no training: a design that breaks a limit on
the board is told at once and its training is saved.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgetran import Board
from edgetran.progress import OnProgress, Progress
from edgetran.results import Measurement
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardError, BudgetError, ExportError

from edgetran_host.job.build import artefact_bytes, build, score_graph
from edgetran_host.job.child import Child, Nursery
from edgetran_host.job.config import Budget
from edgetran_host.job.visiting import visiting
from edgetran_host.job.workbench import Workbench
from edgetran_host.models.checkpoint import save_model
from edgetran_host.search.objective import (
    Cost,
    describe_excess,
    excess,
    needs_defaults,
    objective,
    with_defaults,
    within,
)
from edgetran_host.search.seeded_space import Design
from edgetran_host.search.study import SeededStudy, Trial
from edgetran_host.training import Targets
from edgetran_host.training.loop import forget

MEASURE_BLOCKS = 3
MEASURE_RUNS = 20
MEASURE_BLOCK_S = 0.3
INFEASIBLE_PENALTY = 100.0  # an untrained design's J: far below any trained one's


@dataclass(frozen=True)
class Reference:
    """The fp32 seed: what everything else is compared with."""

    cost: Cost
    score: float  # on the held-out rows


def cost_on_board(work: Workbench, bundle: Bundle, variant: str) -> Cost:
    """Ships the bundle to the target, measures it there, and takes it off again."""
    record = measure_briefly(work.board, bundle, variant, work.on_progress)
    return to_cost(record, artefact_bytes(bundle, variant))


def measure_briefly(
    board: Board, bundle: Bundle, variant: str, on_progress: OnProgress
) -> Measurement:
    """As long as a search can afford for each of its designs."""
    with visiting(board, [bundle], on_progress):
        return board.measure(
            [(bundle, variant)],
            blocks=MEASURE_BLOCKS,
            runs=MEASURE_RUNS,
            min_block_s=MEASURE_BLOCK_S,
        )[0]


def to_cost(record: Measurement, size_bytes: int) -> Cost:
    if record.latency_p50_s is None:
        raise BoardError(
            f"{record.board} gave no latency: {', '.join(record.reasons)}",
            hint="see `edgetran device info` and the daemon's log",
        )
    return Cost(
        latency_s=record.latency_p50_s.value,
        energy_j=record.energy_j.value if record.energy_j else None,
        peak_power_w=record.peak_power_w.value if record.peak_power_w else None,
        size_bytes=float(size_bytes),
        modelled=record.modelled,
    )


class Search:
    """One search of one job, continued from what its study already holds."""

    def __init__(
        self, work: Workbench, nursery: Nursery, targets: Targets, reference: Reference
    ) -> None:
        self._work = work
        self._nursery = nursery
        self._targets = targets
        self._reference = reference
        self._folder = work.run.folder("search")
        self.budget = self._limits()
        self._study = SeededStudy(
            nursery.space(),
            self._folder / "study.db",
            work.config.random_seed,
            work.config.prefer,
        )

    def run(self) -> Trial:
        """The best design that keeps every limit. Raises BudgetError when none does."""
        total = self._work.effort.trials
        while (done := self._trained()) < total and self._tried() < 4 * total:
            self._report(done, total)
            suggested = self._study.suggest()
            if suggested is None:
                break
            number, design = suggested
            try:
                self._evaluate(number, design)
            except ExportError as error:
                self._refuse(number, design, error)
        self._report(total, total)
        best = self._study.best()
        if best is None:
            raise BudgetError(self._why_none(), hint="loosen the limit that is missed by least")
        return best

    def history(self) -> list[dict[str, Any]]:
        """Every trial as data, in order, for the report."""
        return [asdict(trial) for trial in self._study.trials()]

    def refused(self) -> list[dict[str, Any]]:
        """Designs that could not be exported, and why."""
        found = self._study.refused()
        return [{"design": asdict(design), "why": why} for design, why in found.items()]

    def model_folder(self, design: Design) -> Path:
        """Where a trained trial's weights are."""
        return self._folder / design.label().replace(" ", "-")

    def _limits(self) -> Budget:
        """The user's, and defaults above what the smallest design costs."""
        asked, smallest = self._work.config.budget, self._reference.cost
        if needs_defaults(asked):
            design = self._nursery.space().smallest_points()[0]
            folder = self._folder / "smallest"
            smallest = self._cost(design, self._nursery.child(design), folder)
            shutil.rmtree(folder)
        return with_defaults(asked, self._reference.cost, smallest)

    def _cost(self, design: Design, child: Child, folder: Path) -> Cost:
        built = build(
            self._work, child.model, child.tokenizer_json, "trial", (design.precision,), folder
        )
        return cost_on_board(self._work, built.bundle, built.exported[0].variant.name)

    def _evaluate(self, number: int, design: Design) -> None:
        folder = self.model_folder(design)
        child = self._nursery.child(design)
        cost = self._cost(design, child, folder)
        over = excess(cost, self.budget)
        if not within(cost, self.budget):
            value = -INFEASIBLE_PENALTY - sum(part for part in over if part > 0)
            self._study.update(number, Trial(design, cost, None, value, False), over)
            shutil.rmtree(folder)
            return
        effort = self._work.effort
        self._nursery.distil(
            child,
            self._targets,
            effort.trial_recipe,
            effort.trial_rows,
            folder / "checkpoint",
            f"  trial {self._trained() + 1}",
        )
        trained = build(
            self._work, child.model, child.tokenizer_json, "trial", (design.precision,), folder
        )
        scores = score_graph(
            self._work,
            trained.exported[0],
            child.tokenizer_json,
            self._work.split.valid,
            self._work.valid_task,
            f"  score trial {self._trained() + 1}",
        )
        save_model(child.model, folder / "model", child.tokenizer_json)
        forget(folder / "checkpoint")
        reference, prefer = self._reference, self._work.config.prefer
        value = objective(scores.value, reference.score, cost, reference.cost, prefer)
        self._study.update(number, Trial(design, cost, scores.value, value, True), over)
        trained.exported[0].path.unlink()

    def _refuse(self, number: int, design: Design, error: ExportError) -> None:
        """One design that its precision breaks is no reason to lose the others."""
        self._study.refuse(number, str(error))
        shutil.rmtree(self.model_folder(design))

    def _trained(self) -> int:
        return sum(trial.score is not None for trial in self._study.trials())

    def _tried(self) -> int:
        return len(self._study.trials()) + len(self._study.refused())

    def _report(self, done: int, total: int) -> None:
        best = self._study.best()
        detail = f"best {best.design.label()}" if best else ""
        self._work.on_progress(Progress("search", done, total, detail))

    def _why_none(self) -> str:
        closest = max(self._study.trials(), key=lambda trial: trial.value, default=None)
        if closest is None:
            refused = [f"{design.label()}: {why}" for design, why in self._study.refused().items()]
            return "; ".join(["the search tried no design", *refused[:1]])
        near = describe_excess(closest.cost, self.budget)
        return f"no design keeps the limits; the closest, {closest.design.label()}, has {near}"
