"""The boards of a search: what they offer, and what a bundle costs on one of them.

A board that was seen once is known from then on, so a search goes on while it is away. Each
measures one bundle at a time; a lost connection is made anew for the next.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edgetran
import edgetran_devices
from edgetran.progress import OnProgress
from edgetran.results import BoardInfo, Measurement
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardError, BundleError, DataError, ModelError, UsageError
from edgetran_protos.measuring.reasons import INVALID

from edgetran_host.cosearch.assignment import Assignment
from edgetran_host.cosearch.goal import Limits
from edgetran_host.cosearch.pair import Place
from edgetran_host.export import CELLS
from edgetran_host.job.run_directory import write_atomically
from edgetran_host.job.running import check_senses
from edgetran_host.job.searching import (
    MEASURE_BLOCK_S,
    MEASURE_BLOCKS,
    MEASURE_RUNS,
    measure_briefly,
)

THIS_MACHINE = ("local", "localhost", "127.", "[::1]", "unix:")
ATTEMPTS = 2  # at a valid measurement
DIGITS = 16  # of the digest of an emulated board's model
PROTOCOL = {
    "version": 1,
    "blocks": MEASURE_BLOCKS,
    "runs": MEASURE_RUNS,
    "min_block_s": MEASURE_BLOCK_S,
}

Quiet = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class KnownBoard:
    """What decides costs on it, beside the design: plain data, part of the ledger's keys."""

    target: str
    name: str  # "rpi4:cpu"
    emulated: bool
    identity: Mapping[str, Any]
    runtimes: Mapping[str, str]  # those it can use, with versions

    @property
    def is_here(self) -> bool:
        """Trainings on this machine would slow it down."""
        return not self.emulated and self.target.startswith(THIS_MACHINE)


class Boards:
    """Of one search; callers may measure on several at a time."""

    def __init__(
        self,
        assignment: Assignment,
        file: Path,
        quiet: Quiet = nullcontext,
        connect: Callable[[str], edgetran.Board] = edgetran.connect,
        limits: Limits | None = None,
    ) -> None:
        """file: where what is known of them is kept.

        Raises BoardError for one never seen, BudgetError for one without a sensor for a limit.
        """
        self._assignment = assignment
        self._limits = limits or Limits()
        self._file = file
        self._quiet = quiet
        self._connect = connect
        self._connections: dict[str, edgetran.Board] = {}
        self._writing = threading.Lock()
        self._known = self._read()
        for target in assignment.targets:
            if target not in self._known:
                self._open(target)
        self._targets = {self._known[target].name: target for target in assignment.targets}
        if len(self._targets) < len(assignment.targets):
            raise UsageError(
                f"{', '.join(assignment.targets)} name one unit of a board twice",
                hint="name each board once",
            )
        self._turns = {name: threading.Lock() for name in self._targets}

    def places(self) -> tuple[Place, ...]:
        """Every pair of runtime and precision that a board has, asked for and exportable.

        Raises UsageError for a board without any.
        """
        found = []
        for target in self._assignment.targets:
            board = self._known[target]
            pairs = [pair for pair in CELLS if self._wanted(board, *pair)]
            if not pairs:
                raise UsageError(
                    f"{target} has none of {', '.join(self._assignment.runtimes)}",
                    hint=f"it has {', '.join(board.runtimes) or 'no runtime'}: see"
                    " `edgetran device info`",
                )
            found += [Place(board.name, *pair) for pair in pairs]
        return tuple(found)

    def known(self, place: Place) -> KnownBoard:
        return self._known[self._targets[place.board]]

    def measure(
        self, place: Place, bundle: Bundle, on_progress: OnProgress
    ) -> tuple[KnownBoard, Measurement]:
        """Raises BoardError when the board is lost, DataError when it cannot run the bundle."""
        target = self._targets[place.board]
        with self._turns[place.board]:
            try:
                before = self._known[target]
                board = self._connections.get(target) or self._open(target)
                known = self._known[target]
                if known != before:  # what was measured so far goes by another key
                    raise BoardError(
                        f"{target} is not what it was: its runtimes or settings changed",
                        hint="ask again; what it costs now is measured anew",
                    )
                with self._quiet() if known.is_here else nullcontext():
                    return known, self._record(board, bundle, on_progress)
            except BoardError as error:
                self._let_go(target)
                if isinstance(error.__cause__, ModelError):
                    raise _cannot_run(place, error.__cause__) from error
                raise
            except (ModelError, BundleError) as error:
                raise _cannot_run(place, error) from error

    def close(self) -> None:
        for target in list(self._connections):
            self._let_go(target)

    def _record(
        self, board: edgetran.Board, bundle: Bundle, on_progress: OnProgress
    ) -> Measurement:
        variant = bundle.card.variants[0].name
        for _ in range(ATTEMPTS):
            record = measure_briefly(board, bundle, variant, on_progress)
            if record.verdict != INVALID:
                break
        if record.latency_p50_s is None:
            raise BoardError(
                f"{record.board} gave no latency: {', '.join(record.reasons)}",
                hint="see `edgetran device info` and the daemon's log",
            )
        return record

    def _wanted(self, board: KnownBoard, runtime: str, precision: str) -> bool:
        asked = self._assignment
        return (
            runtime in board.runtimes
            and runtime in asked.runtimes
            and precision in asked.precisions
        )

    def _open(self, target: str) -> edgetran.Board:
        board = self._connections[target] = self._connect(target)
        info = board.describe()
        check_senses(info, self._limits.energy_j, self._limits.peak_power_w)
        self._known[target] = _describe(target, info)
        with self._writing:
            kept = [asdict(one) for one in self._known.values()]
            write_atomically(self._file, json.dumps(kept, indent=1).encode())
        return board

    def _let_go(self, target: str) -> None:
        board = self._connections.pop(target, None)
        if board is not None:
            board.close()

    def _read(self) -> dict[str, KnownBoard]:
        if not self._file.exists():
            return {}
        return {one["target"]: KnownBoard(**one) for one in json.loads(self._file.read_bytes())}


def _describe(target: str, info: BoardInfo) -> KnownBoard:
    """A real board is told by its hardware, its runtimes and how many threads it uses."""
    runtimes = {one.name: one.version for one in info.runtimes if not one.unavailable}
    name = f"{info.board}:{info.unit}"
    identity: dict[str, Any] = {"board": name, "modelled": info.emulated}
    if info.emulated:
        unit = edgetran_devices.load_board(info.board).units[info.unit]
        identity |= {"calibration": info.calibration, "daemon": info.daemon_version}
        identity["model"] = hashlib.sha256(repr(unit).encode()).hexdigest()[:DIGITS]
    else:
        machine = ("soc", "cpu_count", "memory_bytes", "host_platform", "threads")
        identity |= {key: getattr(info, key) for key in machine}
    return KnownBoard(target, name, info.emulated, identity, runtimes)


def _cannot_run(place: Place, error: Exception) -> DataError:
    return DataError(f"{place.id} cannot run the design: {error}")
