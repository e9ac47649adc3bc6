"""What the evaluations of one co-search are of: the data, the seed, the boards, the effort."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.evaluator import FIDELITIES
from edgetran_host.job.config import JobConfig
from edgetran_host.training.recipes import Recipe, effort

RUNTIMES = ("onnxruntime", "openvino")
PRECISIONS = ("fp32", "int8")
USUAL_VOCABULARY = 8000
TRANSFER, SHORT, FULL = FIDELITIES


@dataclass(frozen=True)
class Assignment:
    """Equal ones share their evaluations."""

    data: str
    targets: tuple[str, ...]  # boards, as `edgetran.connect` knows them
    seed: str = "minilm"
    effort: str = "quick"  # its recipes: "short" is a trial's, "full" goes on with the final one
    vocabulary: int | None = USUAL_VOCABULARY  # word pieces that every design keeps; None: all
    runtimes: tuple[str, ...] = RUNTIMES  # of those that a board has
    precisions: tuple[str, ...] = PRECISIONS
    more_kinds: tuple[str, ...] = ()  # of heads beside the seed's
    sequence_length: int | None = None  # None: what the data need
    train_rows: int | None = None
    random_seed: int = 0  # of the split and of the teacher's training

    def job(self) -> JobConfig:
        """What the teacher's training follows from; no board has a say in it."""
        return JobConfig(
            data=self.data,
            seed=self.seed,
            target="",
            effort=self.effort,
            sequence_length=self.sequence_length,
            random_seed=self.random_seed,
            train_rows=self.train_rows,
        )


def training(effort_name: str, fidelity: str, seed: int) -> tuple[Recipe, int | None]:
    """The recipe that makes a design of one fidelity from the one before, and its rows.

    None: all that the teacher speaks of. Raises UsageError for a fidelity without training.
    """
    asked = effort(effort_name)
    if fidelity == SHORT:
        return replace(asked.trial_recipe, seed=seed), asked.trial_rows
    if fidelity == FULL:
        return replace(asked.final_recipe, seed=seed), None
    raise UsageError(f"{fidelity!r} trains nothing", hint=f"{SHORT} and {FULL} do")


def training_cost(effort_name: str, fidelity: str, rows: int) -> float:
    """Of the step from the fidelity before, in full trainings; rows: that a full one sees."""
    seen = {}
    for name in (SHORT, FULL):
        recipe, asked = training(effort_name, name, 0)
        seen[name] = recipe.epochs * min(rows, rows if asked is None else asked)
    return 0.0 if fidelity == TRANSFER else seen[fidelity] / sum(seen.values())
