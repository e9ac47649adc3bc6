"""Progress as data: long work yields events, one place turns them into a bar or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Progress:
    """How far one stage of long work has come; `done` may jump when work resumes."""

    stage: str
    done: float
    total: float
    detail: str = ""


OnProgress = Callable[[Progress], None]


def ignore(event: Progress) -> None:
    """Listens to nothing; the default of every `on_progress`."""
