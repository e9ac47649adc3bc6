"""Measures the graphs on a board under one lease, fits, and writes the board's entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import edgetran
import edgetran_devices
from edgetran import Board, BoardInfo
from edgetran.addresses import is_address
from edgetran.progress import OnProgress, Progress
from edgetran_devices import UnitModel, UnknownBoard
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardError, BundleError, ExportError, ModelError, UsageError

from edgetran_host.calibrating.entry import entry_path, write_entry
from edgetran_host.calibrating.fitting import Measured, errors, fit_unit
from edgetran_host.calibrating.graphs import Specimen, bundle_of
from edgetran_host.calibrating.ledger import Ledger, median_width
from edgetran_host.measuring.profiling import Profiled, Request, profile

STAGE = "calibrate"
NARROW = 0.02  # half of a median's 95 % interval, as a share: no further attempt


@dataclass(frozen=True)
class Line:
    """One graph: what it took, and by how much the catalogue errs, before and after."""

    name: str
    latency_s: float
    before: float | None  # signed share; None: the catalogue had no model of this board
    after: float  # the same, by a fit that has not seen this graph


@dataclass(frozen=True)
class Calibrated:
    name: str
    board: BoardInfo
    unit: UnitModel
    entry: Path
    records: Path
    lines: tuple[Line, ...]
    failed: Mapping[str, str]  # graph -> why
    resumed: int  # graphs that an earlier, broken-off command had measured
    no_energy: str  # why energy was not calibrated; empty: it was


def calibrate(
    target: str,
    specimens: Sequence[Specimen],
    on_progress: OnProgress,
    *,
    request: Request,
    attempts: int = 2,
) -> Calibrated:
    """Raises UsageError for an emulated board, EdgeTranError."""
    name, unit_name = named(target)
    with edgetran.connect(target, threads=request.threads or None) as board:
        info = board.describe()
        refuse_emulated(info)
        before = known_model(name, unit_name or info.unit)
        ledger = Ledger.open(name, _plan(info, specimens, request))
        resumed = sum(ledger.done(one) for one in specimens)
        if resumed < len(specimens):
            with board.lease(wait=True, on_progress=on_progress):
                _measure(board, ledger, specimens, request, attempts, on_progress)
    rows = ledger.measured(specimens)
    fit = fit_unit(info.unit, _runtimes(info), rows, _source(info, ledger, specimens))
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    digests = ledger.sources(specimens, "digest")
    measured = {**fit.unit.measured, "date": now, "threads": _threads(info, request)}
    unit = replace(
        fit.unit, measured={**measured, "folder": str(ledger.folder), "records": digests}
    )
    entry = write_entry(name, info, unit)
    done = Calibrated(
        name=name,
        board=info,
        unit=unit,
        entry=entry,
        records=ledger.folder / "records",
        lines=_lines(rows, before, fit.latency_s),
        failed=ledger.failed(specimens),
        resumed=resumed,
        no_energy="" if fit.has_energy else _why_no_energy(info),
    )
    ledger.finish({"lines": [asdict(line) for line in done.lines], "failed": dict(done.failed)})
    return done


def named(target: str) -> tuple[str, str]:
    """The entry's name behind a target, and the unit if it names one. Raises UsageError."""
    if is_address(target):
        raise UsageError(
            f"{target} is an address: the catalogue needs a name for the board",
            hint=f"edgetran device add NAME {target}, then calibrate NAME",
        )
    name, _, unit = target.strip().partition(":")
    entry_path(name)
    return name, unit


def refuse_emulated(board: BoardInfo) -> None:
    if board.emulated:
        raise UsageError(
            f"{board.title} is emulated: there is nothing to measure, its figures are modelled",
            hint="start edgetran-daemon on the board, `edgetran device add NAME HOST:PORT`,"
            " then calibrate NAME; or calibrate local, this machine",
        )


def known_model(name: str, unit: str) -> UnitModel | None:
    """What the catalogue says of the board until now."""
    try:
        return edgetran_devices.load_board(name).units.get(unit)
    except UnknownBoard:
        return None


def _measure(
    board: Board,
    ledger: Ledger,
    specimens: Sequence[Specimen],
    request: Request,
    attempts: int,
    on_progress: OnProgress,
) -> None:
    bundles = ledger.folder / "bundles"
    missing = [one for one in specimens if not ledger.done(one)]
    for done, specimen in enumerate(missing, len(specimens) - len(missing)):
        on_progress(Progress(STAGE, done, len(specimens), specimen.name))
        try:
            bundle = bundle_of(specimen, bundles)
            found = _narrowest(board, bundle, request, ledger.fresh_record(specimen), attempts)
        except (ModelError, ExportError, BundleError) as error:
            ledger.fail(specimen, error)
        except BoardError as error:
            if not isinstance(error.__cause__, ModelError):
                raise  # the board is away: the same command goes on when it is back
            ledger.fail(specimen, error.__cause__)
        else:
            ledger.keep(specimen, found.record, bundle.card.variants[0].work, found.path)
    on_progress(Progress(STAGE, len(specimens), len(specimens)))


def _narrowest(
    board: Board, bundle: Bundle, request: Request, out: Path, attempts: int
) -> Profiled:
    """Of so many attempts, or of those until one is narrow enough."""
    found: list[Profiled] = []
    while len(found) < attempts:
        path = out.with_name(f"{out.name}-{len(found) + 1}") if found else out
        found.append(profile(board, bundle, request, path))
        if median_width(found[-1].record) <= NARROW:
            break
    return min(found, key=lambda one: median_width(one.record))


def _plan(board: BoardInfo, specimens: Sequence[Specimen], request: Request) -> Mapping[str, Any]:
    """Graphs measured under another plan do not belong to this one."""
    return {
        "board": [board.board, board.title, board.unit, board.soc, board.host_platform],
        "runtimes": [[one.name, one.version] for one in board.runtimes if not one.unavailable],
        "sensors": [one.name for one in board.sensors if one.in_use],
        "threads": _threads(board, request),
        "request": asdict(request),
        "graphs": [one.name for one in specimens],
    }


def _threads(board: BoardInfo, request: Request) -> int:
    return request.threads or board.threads


def _runtimes(board: BoardInfo) -> tuple[str, ...]:
    return tuple(one.name for one in board.runtimes if not one.unavailable)


def _source(board: BoardInfo, ledger: Ledger, specimens: Sequence[Specimen]) -> str:
    runtimes = ", ".join(dict.fromkeys(ledger.sources(specimens, "runtime")))
    scope = next((f"{one.name} ({one.scope})" for one in board.sensors if one.in_use), "")
    power = f"Power: {scope}, gross." if scope else "Power: no sensor, so no energy."
    return (
        f"Rates, launch and overhead: measured on the board with {runtimes}, batch 1: medians of"
        f" the records that `measured` names. {power} Errors: leave-one-out, half of the 90 %"
        f" interval as a factor. Measured from {board.host_platform}, daemon"
        f" {board.daemon_version}."
    )


def _lines(
    rows: Sequence[Measured], before: UnitModel | None, after_s: Sequence[float]
) -> tuple[Line, ...]:
    old = errors(before, rows) if before else [None] * len(rows)
    return tuple(
        Line(row.name, row.latency_s, was, foretold / row.latency_s - 1)
        for row, was, foretold in zip(rows, old, after_s)
    )


def _why_no_energy(board: BoardInfo) -> str:
    if any(one.in_use for one in board.sensors):
        return "the power sensor told the energy of too few graphs"
    return "no power sensor of this board can be read"
