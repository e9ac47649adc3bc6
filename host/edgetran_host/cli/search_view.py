"""A search while it runs: a live view for people, plain lines for logs, or JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Protocol

from edgetran.progress import Progress
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgetran_host.cli.progress import PLAIN_PERIOD_S, clock
from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.figures import FORETOLD, FORETOLD_NOTE, TITLES, line_of, marked
from edgetran_host.cosearch.history import Entry
from edgetran_host.cosearch.readable import summary
from edgetran_host.cosearch.standing import (
    SEARCH,
    Standing,
    leading_front,
    outcome_of,
    ranked,
    sources_of,
    value_of,
)

LATEST = 8  # trials that the live view lists
REFRESH_HZ = 4
WORK_PERIOD_S = 30.0  # a log hears of what single evaluations do at most this often
BAR = 24
ASSUMED = "ASSUMED: figures of an oracle, not of boards"
WIDE = 110  # columns, from which designs are shown beside trials
FIGURES = 60  # columns that a trial's figures take
LEAST_PLACE = 12  # columns of its place


class View(Protocol):
    def standing(self, standing: Standing) -> None: ...

    def progress(self, event: Progress) -> None: ...


@contextlib.contextmanager
def search_view(name: str, *, assumed: bool, as_json: bool) -> Iterator[View]:
    """Everything goes to stderr."""
    console = Console(stderr=True)
    if as_json:
        yield JsonLines()
    elif console.is_terminal:
        view = LiveView(name, assumed, console.width)
        with Live(
            get_renderable=view.render,
            console=console,
            refresh_per_second=REFRESH_HZ,
            transient=True,
        ):
            yield view
    else:
        yield PlainLines(name, assumed)


class LiveView:
    def __init__(self, name: str, assumed: bool, width: int) -> None:
        self._width = width
        self._title = Text(name, style="bold")
        if assumed:
            self._title.append(f"  {ASSUMED}", style="yellow")
        self._standing: Standing | None = None
        self._heard_s = time.monotonic()
        self._began: tuple[float, int] | None = None  # seconds, evaluations; of this start
        self._work: dict[str, Progress] = {}
        self._alone = threading.Lock()  # evaluations report from their own threads

    def standing(self, standing: Standing) -> None:
        if self._standing is None or self._standing.stage != standing.stage:
            self._began = standing.elapsed_s, len(standing.ended)
        self._standing, self._heard_s = standing, time.monotonic()

    def progress(self, event: Progress) -> None:
        with self._alone:
            self._work.pop(event.stage, None)
            if not event.total or event.done < event.total:
                self._work[event.stage] = event

    def render(self) -> RenderableType:
        standing = self._standing
        if standing is None:
            return Group(self._title, *self._working(), Text("opening", style="dim"))
        elapsed_s = standing.elapsed_s + time.monotonic() - self._heard_s
        return Group(
            self._title,
            self._paid(standing, elapsed_s),
            *_leading(standing),
            *self._working(),
            _latest(standing, self._width),
            *([Text(FORETOLD_NOTE, style="dim")] if _foretold(standing) else []),
        )

    def _paid(self, standing: Standing, elapsed_s: float) -> Table:
        ended, total = len(standing.ended), standing.total
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, total), completed=ended, width=BAR)
        what = "evaluations" if standing.stage == SEARCH else "of finalists, again"
        cells: list[RenderableType] = [bar, f"{ended}/{total} {what}"]
        if standing.budget.trainings is not None:
            cells.append(f"{standing.trainings:.1f}/{standing.budget.trainings:g} trainings")
        left_s = self._left_s(standing, elapsed_s)
        left = "" if left_s is None else f", {clock(left_s)} left"
        grid.add_row(*cells, f"{clock(elapsed_s)}{left}")
        return grid

    def _left_s(self, standing: Standing, elapsed_s: float) -> float | None:
        """By the pace of this start, or until a budget of time or trainings is spent."""
        assert self._began is not None
        spent_s, gained = elapsed_s - self._began[0], len(standing.ended) - self._began[1]
        found = []
        if gained > 0:
            found.append(spent_s / gained * (standing.total - len(standing.ended)))
        budget = standing.budget
        if budget.seconds is not None and standing.stage == SEARCH:
            found.append(budget.seconds - elapsed_s)
        if budget.trainings is not None and gained > 0 and standing.trainings > 0:
            share = budget.trainings / standing.trainings - 1
            found.append(max(0.0, share) * elapsed_s)
        return min(found, default=None)

    def _working(self) -> list[Text]:
        with self._alone:
            events = list(self._work.values())[-4:]
        lines = []
        for event in events:
            share = f"{event.done / event.total:4.0%}" if event.total else "    "
            lines.append(
                Text(
                    f"  {event.stage.strip()} {share} {event.detail}",
                    style="dim",
                    no_wrap=True,
                    overflow="ellipsis",
                )
            )
        return lines


def _leading(standing: Standing) -> list[RenderableType]:
    found = ranked(standing.brief, standing.entries)
    scored = [one for one in standing.ended if one.evaluation]
    busy = ", ".join(f"{place} {count}" for place, count in sorted(standing.busy.items()))
    failed = f", {standing.failed} failed" if standing.failed else ""
    front = len(leading_front(standing.brief, standing.entries))
    lines: list[RenderableType] = []
    if found:
        best = found[0]
        value = value_of(standing.brief, best)
        pair = best.request.pair
        lines.append(
            _line("best", f"[bold]{value:+.2f}[/bold] on {pair.place.id}, trial {best.number}")
        )
        told = line_of(asdict(outcome_of(best)), sources_of(best))
        lines.append(_line("", escape(told)))
        lines.append(_line("", f"[dim]{escape(summary(pair))}[/dim]"))
    else:
        lines.append(_line("best", "nothing yet that keeps the limits"))
    kept = f"{len(found)} of {len(scored)} keep the limits{failed}"
    lines.append(_line("front", f"{front} pairs no other beats; {kept}"))
    lines.append(_line("busy", escape(busy) or "-"))
    return lines


def _foretold(standing: Standing) -> int:
    """Evaluations whose costs no board was asked for."""
    return sum(FORETOLD in sources_of(one).values() for one in standing.ended)


def _line(label: str, text: str) -> Text:
    line = Text.from_markup(f"{label:<6} {text}")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _latest(standing: Standing, width: int) -> Table:
    wide = width >= WIDE
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline", expand=False)
    names = [name for name in TITLES if name != "size_bytes"]
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("board", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for name in names:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
    if wide:
        table.add_column("design")  # the one that gives way where the line is too short
    ended = sorted(standing.ended, key=lambda one: one.ended.timestamp() if one.ended else 0.0)
    for one in ended[-LATEST:][::-1]:
        design = Text(summary(one.request.pair), no_wrap=True, overflow="ellipsis")
        place = one.request.pair.place.id
        if not wide:
            place = shortened(place, max(LEAST_PLACE, width - FIGURES))
        cells = _row(standing.brief, one, names)
        table.add_row(str(one.number), escape(place), *cells, *([design] if wide else []))
    return table


def _row(brief: Brief, entry: Entry, names: list[str]) -> list[str]:
    if entry.evaluation is None:
        return ["failed", *[""] * len(names)]
    outcome = outcome_of(entry)
    value = "untrained" if outcome.score is None else f"{value_of(brief, entry):+.2f}"
    mark = "" if brief.goal.keeps(outcome) else "[red]over[/red] "
    cells = [marked(name, getattr(outcome, name), sources_of(entry)) for name in names]
    return [f"{mark}{value}", *cells]


def shortened(text: str, width: int) -> str:
    """Its two ends, which tell boards apart, and precisions."""
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[head + 1 - width :]}"


class PlainLines:
    """A line when something better is found, and every few seconds."""

    def __init__(self, name: str, assumed: bool) -> None:
        self._best: float | None = None
        self._last_s = self._worked_s = float("-inf")
        self._stage = ""
        self._say(f"{name}{f'  ({ASSUMED})' if assumed else ''}")

    def standing(self, standing: Standing) -> None:
        now_s = time.monotonic()
        found = ranked(standing.brief, standing.entries)
        best = value_of(standing.brief, found[0]) if found else None
        better = standing.stage == SEARCH and best is not None and best != self._best
        ended = standing.total > 0 and len(standing.ended) >= standing.total
        due = now_s - self._last_s >= PLAIN_PERIOD_S or standing.stage != self._stage
        if not (better or due or (ended and self._last_s != float("inf"))):
            return
        self._best, self._stage = best, standing.stage
        self._last_s = float("inf") if ended else now_s
        leads = (
            f"best {best:+.3f} on {found[0].request.pair.place.id}" if found else "none feasible"
        )
        failed = f", {standing.failed} failed" if standing.failed else ""
        foretold = f", {_foretold(standing)} foretold" if _foretold(standing) else ""
        self._say(
            f"{standing.stage:<10} {len(standing.ended)}/{standing.total}  {leads}"
            f"  {standing.trainings:.2f} trainings{foretold}{failed}  {clock(standing.elapsed_s)}"
        )

    def progress(self, event: Progress) -> None:
        """What single evaluations do, now and then: it may be long until the first ends."""
        if time.monotonic() - self._worked_s >= WORK_PERIOD_S:
            self._worked_s = time.monotonic()
            share = f" {event.done / event.total:.0%}" if event.total else ""
            self._say(f"  {event.stage.strip()}{share}  {event.detail}".rstrip())

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class JsonLines:
    def standing(self, standing: Standing) -> None:
        found = ranked(standing.brief, standing.entries)
        best = found[0] if found else None
        event = {
            "stage": standing.stage,
            "done": len(standing.ended),
            "total": standing.total,
            "failed": standing.failed,
            "foretold": _foretold(standing),
            "trainings": standing.trainings,
            "elapsed_s": standing.elapsed_s,
            "best": None if best is None else best.number,
            "value": None if best is None else value_of(standing.brief, best),
            "busy": dict(standing.busy),
        }
        print(json.dumps(event), file=sys.stderr, flush=True)

    def progress(self, event: Progress) -> None:
        print(json.dumps(event.__dict__), file=sys.stderr, flush=True)
