"""A campaign: one thread a board, each through all designs, whatever befalls the others.

A board that is away is asked again after growing pauses and given up when it stayed away
too long; whoever repeats the command goes on where it stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import edgetran
from edgetran.progress import OnProgress, Progress
from edgetran_protos.errors import BoardError, BundleError, EdgeTranError, ExportError, ModelError
from edgetran_protos.measuring.reasons import INVALID

from edgetran_host.campaign.bundles import Bundles
from edgetran_host.campaign.cells import Cells
from edgetran_host.campaign.plan import Plan
from edgetran_host.measuring.profiling import profile
from edgetran_host.space.architecture import Architecture

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
CLOSE_S = 10.0  # for the threads to end after Ctrl-C


class Stopped(Exception):
    """Ctrl-C, in a board's own thread."""


class Queue(Protocol):
    """What a board measures next, which may depend on what it measured so far."""

    note: str  # of interest beside the progress; may change

    @property
    def total(self) -> int:
        """Cells at most."""
        ...

    def designs(self, cells: Cells) -> Iterable[Architecture]:
        """Those that have no cell yet, one when the one before it has its own."""
        ...


@dataclass
class PlannedQueue:
    """All designs of a plan."""

    plan: Plan
    note: str = ""

    @property
    def total(self) -> int:
        return len(self.plan.designs)

    def designs(self, cells: Cells) -> Iterable[Architecture]:
        return (design for design in self.plan.designs if not cells.done(design))


@dataclass(frozen=True)
class Outcome:
    """What came of one board."""

    target: str
    measured: int
    invalid: int  # of the measured: their records say why
    failed: int  # the board cannot run them
    missing: int
    data: Path
    gave_up: str  # why it was given up; empty: it was not


def run(
    plan: Plan,
    folder: Path,
    on_progress: OnProgress,
    patience_s: float,
    queue: Queue | None = None,
) -> list[Outcome]:
    """patience_s: how long a board may stay away before it is given up.

    queue: for a plan of one board; default: all designs of the plan.
    """
    stop, lock = threading.Event(), threading.Lock()
    bundles = Bundles(folder / "bundles", plan.sequence_length)

    def listen(event: Progress) -> None:
        with lock:
            on_progress(event)

    works = [
        _BoardWork(
            plan,
            queue or PlannedQueue(plan),
            target,
            Cells(folder, target),
            bundles,
            listen,
            stop,
            patience_s,
        )
        for target in plan.targets
    ]
    threads = [threading.Thread(target=work.run, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()
        _join(threads)  # they give their boards back at the next sign of progress
        for work in works:
            work.hang_up()
        raise
    for work in works:
        if work.defect is not None:
            raise work.defect
    return [work.outcome() for work in works]


def _join(threads: Sequence[threading.Thread]) -> None:
    until_s = time.monotonic() + CLOSE_S
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))


class _BoardWork:
    """All designs of a queue on one board."""

    def __init__(
        self,
        plan: Plan,
        queue: Queue,
        target: str,
        cells: Cells,
        bundles: Bundles,
        on_progress: OnProgress,
        stop: threading.Event,
        patience_s: float,
    ) -> None:
        self._plan = plan
        self._queue = queue
        self._target = target
        self._cells = cells
        self._bundles = bundles
        self._on_progress = on_progress
        self._stop = stop
        self._patience_s = patience_s
        self._board: edgetran.Board | None = None
        self._gave_up = ""
        self.defect: BaseException | None = None  # of ours: raised where the campaign was begun

    def run(self) -> None:
        try:
            for design in self._queue.designs(self._cells):
                if not self._measured(design):
                    break
            self._tell(self._gave_up and f"given up: {self._gave_up}")
        except BaseException as error:  # a thread's own error would only be printed
            self.defect = error
        finally:
            self._let_go()

    def hang_up(self) -> None:
        """What is being measured stops on the board."""
        board = self._board
        if board is not None:
            board.close()

    def _let_go(self) -> None:
        """The next design finds the board anew."""
        board, self._board = self._board, None
        if board is not None:
            board.close()

    def outcome(self) -> Outcome:
        cells = self._cells.all()
        measured = sum("row" in cell for cell in cells)
        return Outcome(
            target=self._target,
            measured=measured,
            invalid=sum("row" in cell and cell["row"]["verdict"] == INVALID for cell in cells),
            failed=len(cells) - measured,
            missing=self._queue.total - len(cells),
            data=self._cells.write_data(),
            gave_up=self._gave_up,
        )

    def _measured(self, design: Architecture) -> bool:
        """False: the board stayed away, or the campaign is to stop."""
        pause_s, since_s = FIRST_PAUSE_S, time.monotonic()
        while not self._stop.is_set():
            try:
                self._measure(design)
                return True
            except BoardError as error:
                self._let_go()
                if isinstance(error.__cause__, ModelError):
                    self._cells.fail(design, error.__cause__)
                    return True
                if time.monotonic() - since_s > self._patience_s:
                    self._gave_up = str(error)
                    return False
                self._tell(f"again in {pause_s:.0f} s: {error}")
            except Stopped:
                return False
            except (ModelError, ExportError, BundleError) as error:
                self._cells.fail(design, error)
                return True
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return False

    def _measure(self, design: Architecture) -> None:
        self._tell("export")
        bundle = self._bundles.of(design)
        if self._board is None:
            self._board = edgetran.connect(self._target)
        out = self._cells.fresh_record(design)
        done = profile(
            self._board,
            bundle,
            self._plan.request,
            out,
            attempts=self._plan.attempts,
            on_progress=self._as_one_stage,
        )
        if done.record.latency_p50_s is None:
            raise BoardError(f"no latency: {', '.join(done.record.reasons)}", hint="try again")
        self._cells.keep(design, done.record, done.path, self._plan.request.batch_size or 1)
        self._cells.write_data()

    def _as_one_stage(self, event: Progress) -> None:
        if self._stop.is_set():
            raise Stopped
        self._tell(f"{event.stage} {event.detail}".rstrip())

    def _tell(self, detail: str) -> None:
        told = "; ".join(filter(None, (detail, self._queue.note)))
        self._on_progress(Progress(self._target, self._cells.count(), self._queue.total, told))


def unfinished(outcomes: Sequence[Outcome]) -> EdgeTranError | None:
    """What the command ends with when cells are missing."""
    away = [outcome for outcome in outcomes if outcome.missing]
    if not away:
        return None
    told = "; ".join(f"{one.target} lacks {one.missing}: {one.gave_up}" for one in away)
    return BoardError(told, hint="run the same command again when the board is back")
