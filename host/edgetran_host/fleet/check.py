"""Whether a board that serves the new bundle keeps what is promised, wished and asked of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from edgetran import AsyncBoard
from edgetran.results import Measurement
from edgetran_protos.errors import BoardBusy, BoardUnreachable, EdgeTranError, LeaseLost

from edgetran_host.fleet.canary import Known, golden_rows, right_answers
from edgetran_host.fleet.conditions import Condition
from edgetran_host.fleet.delivered import (
    Answered,
    Delivered,
    broken_promises,
    promise,
    shown,
)
from edgetran_host.fleet.fleet_file import FleetBoard
from edgetran_host.fleet.work import Work
from edgetran_host.measuring.record_directory import RecordDirectory

ATTEMPTS = 3  # a busy moment of a board is no broken promise
RUNS, BLOCKS, LEAST_BLOCK_S, WARMUP_S = 200, 2, 0.3, 2.0  # of a measurement
LIMITS = {"max_p99": "latency_p99_s", "max_energy": "energy_j", "max_power": "peak_power_w"}


@dataclass(frozen=True)
class Checked:
    delivered: Delivered
    faults: tuple[str, ...]  # none: all is well


async def check(
    work: Work, entry: FleetBoard, board: AsyncBoard, place: str, variant: str
) -> Checked:
    """A model that fails to answer is a fault, and so is what cannot be asked of the board.

    Raises BoardUnreachable, BoardBusy, LeaseLost: what may be over in a while.
    """
    plan, card, digest = work.plan, work.bundle.card, work.bundle.digest
    try:
        agreement = await _asked(board, plan.model, digest, golden_rows(card, variant))
        accuracy = await _asked(board, plan.model, digest, work.labelled)
        found = Delivered.of(None, agreement=agreement, accuracy=accuracy)
        for _ in range(ATTEMPTS):
            record = await _measured(work, entry.name, board, variant)
            found = Delivered.of(record, agreement=agreement, accuracy=accuracy)
            faults = _faults(work, entry, place, variant, found)
            if not (faults or found.unsure) or record is None:
                break
    except (BoardUnreachable, BoardBusy, LeaseLost):
        raise
    except EdgeTranError as exc:
        return Checked(Delivered(), (f"{type(exc).__name__}: {exc}",))
    return Checked(found, tuple(faults))


async def _asked(
    board: AsyncBoard, model: str, digest: str, rows: Sequence[Known]
) -> Answered | None:
    if not rows:
        return None
    return Answered(len(rows), await right_answers(board, model, digest, rows))


async def _measured(work: Work, name: str, board: AsyncBoard, variant: str) -> Measurement | None:
    """The record of the last attempt stays, raw samples included, for `edgetran verify`."""
    if not work.plan.measured:
        return None
    folder = work.records / name
    shutil.rmtree(folder, ignore_errors=True)
    kept = RecordDirectory.create(folder)
    (record,) = await board.measure(
        [(work.bundle.digest, variant)],
        on_piece=lambda piece: kept.add(piece.data, piece.begun),
        runs=RUNS,
        blocks=BLOCKS,
        min_block_s=LEAST_BLOCK_S,
        warmup_limit_s=WARMUP_S,
    )
    kept.finish(record.document)
    return record


def _faults(work: Work, entry: FleetBoard, place: str, variant: str, found: Delivered) -> list[str]:
    card = work.bundle.card
    faults = broken_promises(card, place, variant, found, work.plan.slack)
    for word, figure in LIMITS.items():
        limit, value = getattr(entry.wishes, word), found.value(figure)
        if limit is not None and value is not None and value > limit:
            faults.append(f"{shown(figure, value)}, the board's limit is {shown(figure, limit)}")
    for one in work.conditions:
        if not one.of_wave and _met(one, work, place, variant, found):
            faults.append(f"{shown(one.figure, found.value(one.figure) or 0.0)}: {one.text}")
    return faults


def _met(one: Condition, work: Work, place: str, variant: str, found: Delivered) -> bool:
    modelled = found.modelled if found.figures else None
    claim = promise(work.bundle.card, one.figure, place, variant, modelled=modelled)
    return one.met(found.value(one.figure), claim.value if claim else None)
