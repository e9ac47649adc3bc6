"""Figures of a board that is not here: its model applied to the graph's work.

Nothing in here was measured on the board; every record says so and names its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Optional

from edgetran_devices import RESIDENT, NotCovered, UnitModel, figures
from edgetran_protos.bundle import BundleCard, Variant, Work
from edgetran_protos.errors import UsageError
from edgetran_protos.measuring.document import SCHEMA, sealed
from edgetran_protos.measuring.quantity import Quantity
from edgetran_protos.measuring.reasons import MODELLED

from edgetran_daemon.board.board import Board
from edgetran_daemon.measuring.records import MeasureRecord

REASONS = (
    "board_is_emulated",
    "load_time_of_the_emulating_machine",
    "peak_memory_of_the_emulating_machine",
)


def asked_of(
    board: Board, card: BundleCard, variant: Variant, place: Optional[int] = None
) -> dict[str, Any]:
    """Facts that the board's calibration asks about. place: of a measurement, for its scatter."""
    if board.calibration == RESIDENT:
        return {"calibration": RESIDENT}
    return {
        "calibration": board.calibration,
        "architecture": dict(card.architecture),
        "sequence_length": card.sequence_length,
        "precision": variant.precision,
        "seed": board.seed if place is not None else None,
        "place": place,
    }


def modelled(facts: Mapping[str, Any], unit: UnitModel, work: Work) -> MeasureRecord:
    """facts: of the trial that showed that the model works, of the board, and `asked_of`.

    Raises UsageError for a model that the calibration says nothing of.
    """
    name = facts.get("calibration", RESIDENT)
    try:
        values = figures(unit, work, facts)
    except NotCovered as exc:
        raise UsageError(
            f"calibration {name}: {exc}",
            hint="start the daemon with --calibration resident, or measure a design of the study",
        ) from exc
    found: dict[str, Any] = {name: value and Quantity(*value) for name, value in values.items()}
    source = unit.source if name == RESIDENT else unit.calibrations[name].source
    facts = {**facts, "calibration": name, "source": source}
    document = {
        "schema": SCHEMA,
        "modelled": True,
        "facts": {**facts, "work": asdict(work)},
        "conditions": {},
        "sensor": None,
        "asked": {},
        "samples": [],
        "figures": {name: value and asdict(value) for name, value in found.items()},
        "verdict": MODELLED,
        "reasons": list(REASONS),
    }
    shown = {name: value for name, value in facts.items() if name != "title"}
    shown = {name: value for name, value in facts.items() if name in _SHOWN}
    return MeasureRecord(
        **shown,
        **found,
        modelled=True,
        verdict=MODELLED,
        reasons=REASONS,
        latency_cv=0.0,
        runs_a_block=0,
        samples_s=(),
        document=sealed(document),
    )


_SHOWN = {field.name for field in fields(MeasureRecord)}


@dataclass(frozen=True)
class Charge:
    latency_s: float  # the whole batch
    calibration: str  # that it is of


class BoardClock:
    """What the emulated board would have spent on the requests answered so far."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.busy_s = 0.0

    def charge(self, card: BundleCard, variant: Variant, rows: int) -> Optional[Charge]:
        """Of one inference of `rows` rows; None on a real board.

        A model that the board's calibration says nothing of has resident figures, and says so.
        """
        unit = self._board.model
        if unit is None:
            return None
        facts = {"batch_size": rows, **asked_of(self._board, card, variant)}
        try:
            found = figures(unit, variant.work, facts)
        except NotCovered:
            facts["calibration"] = RESIDENT
            found = figures(unit, variant.work, facts)
        latency = found["latency_p50_s"]
        assert latency is not None
        self.busy_s += latency[0]
        return Charge(latency[0], facts["calibration"])
