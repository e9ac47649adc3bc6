"""One training of a node, from folder to folder, as a task that any process can do.

A killed one goes on from its checkpoint, and what was learnt is not learnt again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetran.progress import OnProgress

from edgetran_host.engine import Task
from edgetran_host.job.bench import Bench, bench_at
from edgetran_host.job.child import Child, teach
from edgetran_host.job.teacher import answers_file, targets_file
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.refine.held_out import held_out_loss
from edgetran_host.training import Recipe, Targets
from edgetran_host.training.divergence import Diverged
from edgetran_host.training.loop import forget


@dataclass(frozen=True)
class Lesson:
    run: Path  # with the task's rows, and what the seed says of them
    source: Path  # a model
    place: Path  # where it is left when it has learnt
    recipe: Recipe
    rows: int
    start: int  # among the run's rows
    taught: bool  # by the seed; False: by labels alone
    threads: int
    stage: str  # to be shown

    @property
    def checkpoint(self) -> Path:
        return self.place.with_name(f"{self.place.name}-checkpoint")

    def task(self) -> Task:
        return Task("edgetran_host.refine.lesson:learn", {"lesson": self}, self.stage.strip())


def learn(lesson: Lesson, on_progress: OnProgress) -> float | None:
    """In a process of its own, which keeps the rows for the next lesson."""
    bench = bench_at(lesson.run, lesson.threads)
    bench.on_progress = on_progress
    return learn_at(bench, lesson)


def learn_at(bench: Bench, lesson: Lesson) -> float | None:
    """The loss on held-out rows; None: it diverged, which is no reason to stop."""
    if not lesson.place.exists():
        model, tokenizer_json = load_model(lesson.source)
        targets = Targets.load(targets_file(bench)) if lesson.taught else None
        child = Child(model, tokenizer_json, ())
        try:
            teach(
                bench,
                child,
                targets,
                lesson.recipe,
                lesson.rows,
                lesson.checkpoint,
                lesson.stage,
                lesson.start,
            )
        except Diverged:
            return None
        save_model(model, lesson.place, tokenizer_json)
        forget(lesson.checkpoint)
    answers = Targets.load(answers_file(bench)) if lesson.taught else None
    return held_out_loss(bench, *load_model(lesson.place), answers)
