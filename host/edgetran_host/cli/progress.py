"""Turns progress events into a bar for people, plain lines for logs, or JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator

from edgetran.progress import OnProgress, Progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.table import Column

SPEED_PERIOD_S = 600.0  # a search steps once in many seconds; its time left needs a long memory
PLAIN_PERIOD_S = 10.0  # a log gets a line at most this often per stage


@contextlib.contextmanager
def progress(*, as_json: bool = False) -> Iterator[OnProgress]:
    """A listener for the time of a `with` block. Everything goes to stderr."""
    console = Console(stderr=True)
    if as_json:
        yield lambda event: print(json.dumps(event.__dict__), file=sys.stderr)
    elif console.is_terminal:
        with _bars(console) as listen:
            yield listen
    else:
        yield _PlainLines()


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[OnProgress]:
    columns = (
        TextColumn("{task.description}", table_column=Column(width=22, no_wrap=True)),
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        TextColumn("left", table_column=Column(no_wrap=True)),
        # Whatever is left of the line, so that a long detail never hides the times.
        TextColumn("[dim]{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True)),
    )
    with Bars(*columns, console=console, expand=True, speed_estimate_period=SPEED_PERIOD_S) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(
                    event.stage, total=event.total, detail=event.detail
                )
            bars.update(
                tasks[event.stage], completed=event.done, total=event.total, detail=event.detail
            )

        yield listen


class _PlainLines:
    """One line when a stage starts, every few seconds, and when it ends."""

    def __init__(self) -> None:
        self._started: dict[str, tuple[float, float]] = {}
        self._last: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        start, first_done = self._started.setdefault(event.stage, (now, event.done))
        ended = event.total > 0 and event.done >= event.total
        due = now - self._last.get(event.stage, float("-inf")) >= PLAIN_PERIOD_S
        if event.stage in self._ended or not (ended or due):
            return
        self._last[event.stage] = now
        if ended:
            self._ended.add(event.stage)
        share = event.done / event.total if event.total else 0.0
        gained = event.done - first_done
        left = ""
        if not ended and gained > 0:
            left = f", {(now - start) * (event.total - event.done) / gained:.0f} s left"
        detail = f"  {event.detail}" if event.detail else ""
        print(
            f"{event.stage:<22} {share:4.0%}  {now - start:.0f} s{left}{detail}",
            file=sys.stderr,
            flush=True,
        )
