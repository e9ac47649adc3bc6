"""Turns progress events into a bar for people, plain lines for logs, or JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from edgetran.progress import OnProgress, Progress
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

PLAIN_PERIOD_S = 10.0  # a log gets a line at most this often per stage
SHOWN_PARTS = 6  # finished ones; a search or a refinement has dozens


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


@dataclass
class _Pace:
    """How fast one stage goes; what was done before it began (a resume) does not count."""

    started_s: float
    first_done: float
    ends_s: float | None = None  # when it will be done, by the pace so far

    def follow(self, event: Progress, now_s: float) -> None:
        gained = event.done - self.first_done
        if gained > 0:
            self.ends_s = now_s + (now_s - self.started_s) * (event.total - event.done) / gained


class _TimeLeft(ProgressColumn):
    """Counts down between events, which may be far apart; then says what it took."""

    def render(self, task: Task) -> Text:
        pace: _Pace = task.fields["pace"]
        if task.finished:
            return Text(f"took {clock(task.finished_time or 0.0)}")
        if pace.ends_s is None:
            return Text("--:-- left")
        return Text(f"{clock(pace.ends_s - time.monotonic())} left")


def clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[OnProgress]:
    columns = (
        TextColumn("{task.description}", table_column=Column(width=26, no_wrap=True)),
        BarColumn(bar_width=14),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
        _TimeLeft(table_column=Column(min_width=10, no_wrap=True)),
        # Whatever is left of the line, so that a long detail never hides the times.
        TextColumn("[dim]{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True)),
    )
    with Bars(*columns, console=console, expand=True) as bars:
        tasks: dict[str, TaskID] = {}
        paces: dict[str, _Pace] = {}
        ended: set[str] = set()

        def listen(event: Progress) -> None:
            now_s = time.monotonic()
            if event.stage not in tasks:
                pace = paces[event.stage] = _Pace(now_s, event.done)
                tasks[event.stage] = bars.add_task(
                    event.stage, total=event.total, detail=event.detail, pace=pace
                )
                _tidy(bars)
            elif event.stage in ended and event.done < event.total:  # the stage comes again
                ended.discard(event.stage)
                pace = paces[event.stage] = _Pace(now_s, event.done)
                bars.reset(tasks[event.stage], total=event.total, detail=event.detail, pace=pace)
            if event.done >= event.total > 0:
                ended.add(event.stage)
            paces[event.stage].follow(event, now_s)
            bars.update(
                tasks[event.stage], completed=event.done, total=event.total, detail=event.detail
            )

        yield listen


def _tidy(bars: Bars) -> None:
    """Of parts of a stage (their names are indented) that have ended, the last ones stay."""
    ended = [task for task in bars.tasks if task.finished and task.description.startswith(" ")]
    for task in ended[:-SHOWN_PARTS]:
        bars.update(task.id, visible=False)


class _PlainLines:
    """One line when a stage starts, every few seconds, and when it ends."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}
        self._last_s: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, event: Progress) -> None:
        now_s = time.monotonic()
        pace = self._paces.setdefault(event.stage, _Pace(now_s, event.done))
        pace.follow(event, now_s)
        ended = event.total > 0 and event.done >= event.total
        due = now_s - self._last_s.get(event.stage, float("-inf")) >= PLAIN_PERIOD_S
        if event.stage in self._ended or not (ended or due):
            return
        self._last_s[event.stage] = now_s
        if ended:
            self._ended.add(event.stage)
        share = event.done / event.total if event.total else 0.0
        left = "" if ended or pace.ends_s is None else f", {pace.ends_s - now_s:.0f} s left"
        detail = f"  {event.detail}" if event.detail else ""
        print(
            f"{event.stage:<22} {share:4.0%}  {now_s - pace.started_s:.0f} s{left}{detail}",
            file=sys.stderr,
            flush=True,
        )
