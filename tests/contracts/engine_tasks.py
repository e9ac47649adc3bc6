"""Small tasks for engines: each tells, fails or dies in a way of its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from edgetran.progress import OnProgress, Progress
from edgetran_protos.errors import DataError


def add(one: int, other: int, on_progress: OnProgress) -> int:
    return one + other


def count(total: int, on_progress: OnProgress) -> int:
    for done in range(total):
        on_progress(Progress("counting", done, total))
    return os.getpid()


def diverge(on_progress: OnProgress) -> None:
    raise DataError("the loss is no number", hint="lower the learning rate")


def divide(by: int, on_progress: OnProgress) -> float:
    return 1 / by


def die(folder: Path, times: int, on_progress: OnProgress) -> int:
    """Kills its own process that often, then answers."""
    (folder / f"try-{os.getpid()}").touch()
    tries = len(list(folder.glob("try-*")))
    if tries <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries


def wait(folder: Path, on_progress: OnProgress) -> None:
    """For ever."""
    (folder / f"waits-{os.getpid()}").touch()
    on_progress(Progress("waiting", os.getpid(), 1))
    while True:
        time.sleep(0.05)


def tick(folder: Path, on_progress: OnProgress) -> None:
    """A file grows until there is one called `end`."""
    with (folder / "ticks").open("ab", buffering=0) as file:
        on_progress(Progress("ticking", 0, 1))
        while not (folder / "end").exists():
            file.write(b".")
            time.sleep(0.005)
