"""A lesson can be sent to another process, and names what it leaves."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

from edgetran_host.refine.lesson import Lesson, learn
from edgetran_host.training import Recipe

LESSON = Lesson(
    run=Path("run"),
    source=Path("run/node-3/measured"),
    place=Path("run/node-3/probed"),
    recipe=Recipe(epochs=1, batch_size=32, learning_rate=1e-4, seed=3),
    rows=500,
    start=9000,
    taught=True,
    threads=1,
    stage="  probe 3",
)


def test_it_travels_as_a_task() -> None:
    task = pickle.loads(pickle.dumps(LESSON.task()))
    module, _, name = task.function.partition(":")
    assert getattr(importlib.import_module(module), name) is learn
    assert task.arguments == {"lesson": LESSON}
    assert task.name == "probe 3"


def test_its_checkpoint_is_beside_what_it_leaves() -> None:
    assert LESSON.checkpoint.parent == LESSON.place.parent
    assert LESSON.checkpoint not in (LESSON.place, LESSON.source)
