"""A campaign: one thread a board, each through all designs, whatever befalls the others.

A board that is away is asked again after growing pauses and given up when it stayed away
too long; whoever repeats the command goes on where it stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def run(plan: Plan, folder: Path, on_progress: OnProgress, patience_s: float) -> list[Outcome]:
    """patience_s: how long a board may stay away before it is given up."""
    stop, lock = threading.Event(), threading.Lock()
    bundles = Bundles(folder / "bundles", plan.sequence_length)

    def listen(event: Progress) -> None:
        with lock:
            on_progress(event)

    works = [
        _BoardWork(plan, target, Cells(folder, target), bundles, listen, stop, patience_s)
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
    """All designs on one board."""

    def __init__(
        self,
        plan: Plan,
        target: str,
        cells: Cells,
        bundles: Bundles,
        on_progress: OnProgress,
        stop: threading.Event,
        patience_s: float,
    ) -> None:
        self._plan = plan
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
            for design in self._plan.designs:
                if not self._cells.done(design) and not self._measured(design):
                    break
            self._tell(self._gave_up and f"given up: {self._gave_up}")
        except BaseException as error:  # a thread's own error would only be printed
            self.defect = error

    def hang_up(self) -> None:
        """What is being measured stops on the board."""
        board = self._board
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
            missing=sum(not self._cells.done(design) for design in self._plan.designs),
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
        with edgetran.connect(self._target) as self._board:
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
        done = sum(self._cells.done(design) for design in self._plan.designs)
        self._on_progress(Progress(self._target, done, len(self._plan.designs), detail))


def unfinished(outcomes: Sequence[Outcome]) -> EdgeTranError | None:
    """What the command ends with when cells are missing."""
    away = [outcome for outcome in outcomes if outcome.missing]
    if not away:
        return None
    told = "; ".join(f"{one.target} lacks {one.missing}: {one.gave_up}" for one in away)
    return BoardError(told, hint="run the same command again when the board is back")
