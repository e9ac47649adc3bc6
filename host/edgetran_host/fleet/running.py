"""The commands of a fleet: begin a rollout, go on with it, take it back."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgetran.progress import OnProgress
from edgetran_protos.errors import BoardError, EdgeTranError, UsageError

from edgetran_host.fleet.canary import Known, labelled_rows
from edgetran_host.fleet.fleet_file import Fleet
from edgetran_host.fleet.ledger import (
    DEPLOYED,
    DONE,
    HALTED,
    HALTING,
    REFUSED,
    ROLLED_BACK,
    RUNNING,
    UNFINISHED,
    UNREACHABLE,
    WAITING,
    Ledger,
    Rollout,
)
from edgetran_host.fleet.lock import only_host
from edgetran_host.fleet.plan import Pace, Plan
from edgetran_host.fleet.rolling import Rolling
from edgetran_host.fleet.shared_bundle import SharedBundle
from edgetran_host.fleet.waves import waves
from edgetran_host.fleet.work import Work

FOLLOW_S = 30.0  # between two looks for boards that come late
SUFFIX = ".ledger.db"


def ledger_path(fleet: Path) -> Path:
    """fleet.toml -> fleet.ledger.db, beside it."""
    return fleet.with_suffix(SUFFIX)


def deploy(fleet: Fleet, plan: Plan, pace: Pace, on_progress: OnProgress) -> Rollout:
    """The same plan again goes on where it stopped. Raises UsageError, BoardBusy."""
    path = ledger_path(fleet.path)
    ready = _prepared(plan, Path(plan.bundle))
    with only_host(path), _opened(path) as ledger:
        last = ledger.last()
        if last is None or last.status not in UNFINISHED:
            order = waves(plan.waves, fleet.boards)
            last = ledger.begin(plan, order)
        elif dataclasses.replace(last.plan, bundle=plan.bundle) != plan:
            raise UsageError(
                f"another rollout to {fleet.name} is {last.status}: {last.plan.bundle}",
                hint="`edgetran fleet resume` finishes it, `edgetran fleet rollback` takes it back",
            )
        return _run(fleet, ledger, last, ready, pace, on_progress)


def resume(
    fleet: Fleet,
    pace: Pace,
    on_progress: OnProgress,
    *,
    again: bool = False,
    bundle: Path | None = None,
) -> Rollout:
    """On with the last rollout: what was broken off, boards that were away, boards that are new.

    again: also boards that refused, or were taken back. bundle: where it is now.
    """
    path = _known(fleet)
    with only_host(path), _opened(path) as ledger:
        last = _last(ledger, fleet)
        ready = _prepared(last.plan, bundle)
        known = ledger.boards(last.id)
        for board in fleet.boards:
            if board.name not in {row.name for row in known}:
                ledger.add(last.id, board.name, max(row.wave for row in known))
        if again:
            for row in known:
                if row.state in (REFUSED, ROLLED_BACK):
                    ledger.note(last.id, row.name, state=WAITING, reason="", changed=0, known=0)
            ledger.settle(last.id, RUNNING)
        return _run(fleet, ledger, _last(ledger, fleet), ready, pace, on_progress)


def rollback(fleet: Fleet, pace: Pace, on_progress: OnProgress, reason: str) -> Rollout:
    """Takes back all that the last rollout changed."""
    path = _known(fleet)
    with only_host(path), _opened(path) as ledger:
        last = _last(ledger, fleet)
        work = _work(fleet, ledger, last, _prepared(last.plan), pace, on_progress)
        asyncio.run(_taken_back(work, reason))
        return _last(ledger, fleet)


def look_back(fleet: Fleet, pace: Pace, on_progress: OnProgress) -> Rollout:
    """Asks all boards that were done what they serve."""
    path = _known(fleet)
    with only_host(path), _opened(path) as ledger:
        last = _last(ledger, fleet)
        work = _work(fleet, ledger, last, _prepared(last.plan), pace, on_progress)
        asyncio.run(_looked_back(work))
        return last


def missing(fleet: Fleet) -> list[str]:
    """Boards that a rollout still has to reach: away until now, or new in the file."""
    with _opened(ledger_path(fleet.path)) as ledger:
        last = _last(ledger, fleet)
        rows = {row.name: row for row in ledger.boards(last.id)}
    halted = last.status not in (RUNNING, DONE)
    names = [board.name for board in fleet.boards]
    away = [n for n in names if n in rows and rows[n].state == UNREACHABLE]
    if halted:  # only what is owed to them: to be taken back
        return [name for name in away if rows[name].changed]
    return [*away, *(name for name in names if name not in rows)]


def unfinished(fleet: Fleet) -> EdgeTranError | None:
    """What a command ends with when not every board serves the bundle."""
    with _opened(ledger_path(fleet.path)) as ledger:
        last = _last(ledger, fleet)
    if last.status in (HALTING, HALTED):
        return BoardError(
            f"halted: {last.reason}",
            hint="`edgetran fleet status` shows each board; deploy a better bundle, or resume "
            "with --again",
        )
    away = missing(fleet)
    if away:
        named = ", ".join(away[:3]) + (" ..." if len(away) > 3 else "")
        return BoardError(
            f"{len(away)} {'board' if len(away) == 1 else 'boards'} did not answer: {named}",
            hint="`edgetran fleet resume` when they are back, or with --follow",
        )
    return None


@dataclass(frozen=True)
class _Ready:
    """What a plan names, read and found good before anything is begun."""

    bundle: SharedBundle
    labelled: list[Known]


def _prepared(plan: Plan, path: Path | None = None) -> _Ready:
    """path: where the bundle is now. Raises BundleError, DataError, UsageError."""
    found = SharedBundle.of(path or Path(plan.bundle))
    if found.digest != plan.digest:
        raise UsageError(
            f"{found.path} is {found.digest}, the rollout brings {plan.digest}",
            hint="give the same bundle: edgetran fleet resume FLEET --bundle FILE",
        )
    rows = labelled_rows(plan.canary, plan.canary_rows, found.card) if plan.canary else []
    return _Ready(found, rows)


def _run(
    fleet: Fleet,
    ledger: Ledger,
    rollout: Rollout,
    ready: _Ready,
    pace: Pace,
    on_progress: OnProgress,
) -> Rollout:
    asyncio.run(_rolled(_work(fleet, ledger, rollout, ready, pace, on_progress)))
    return _last(ledger, fleet)


async def _rolled(work: Work) -> None:
    await Rolling(work).run()


async def _taken_back(work: Work, reason: str) -> None:
    await Rolling(work).take_back(reason)


async def _looked_back(work: Work) -> None:
    done = [row for row in work.rows() if row.state == DEPLOYED and row.name in work.boards]
    await Rolling(work).look_back(done)


def _work(
    fleet: Fleet,
    ledger: Ledger,
    rollout: Rollout,
    ready: _Ready,
    pace: Pace,
    on_progress: OnProgress,
) -> Work:
    return Work(
        fleet=fleet.name,
        boards={board.name: board for board in fleet.boards},
        ledger=ledger,
        rollout=rollout,
        bundle=ready.bundle,
        pace=pace,
        labelled=ready.labelled,
        on_progress=on_progress,
        records=fleet.path.with_suffix(".records") / str(rollout.id),
    )


def _known(fleet: Fleet) -> Path:
    """Its ledger. Raises UsageError when there is none."""
    path = ledger_path(fleet.path)
    if not path.exists():
        raise UsageError(
            f"nothing was deployed to {fleet.name} yet",
            hint=f"edgetran deploy --bundle FILE --fleet {fleet.path}",
        )
    return path


def _last(ledger: Ledger, fleet: Fleet) -> Rollout:
    found = ledger.last()
    if found is None:  # killed before it wrote its first line
        raise UsageError(f"no rollout to {fleet.name} was begun", hint="begin it again")
    return found


def _opened(path: Path) -> closing[Ledger]:
    return closing(Ledger(path))
