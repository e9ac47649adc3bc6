"""What all visits to a rollout's boards have in common."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgetran.progress import OnProgress, Progress

from edgetran_host.fleet.canary import Known
from edgetran_host.fleet.conditions import Condition
from edgetran_host.fleet.fleet_file import FleetBoard
from edgetran_host.fleet.ledger import BoardRow, Ledger, Rollout
from edgetran_host.fleet.plan import Pace, Plan
from edgetran_host.fleet.shared_bundle import SharedBundle


@dataclass(frozen=True)
class Work:
    fleet: str  # its name, which boards are told
    boards: Mapping[str, FleetBoard]
    ledger: Ledger
    rollout: Rollout
    bundle: SharedBundle
    pace: Pace
    labelled: Sequence[Known]  # rows that every board is asked
    on_progress: OnProgress
    records: Path  # of the boards' measurements, a folder each
    halt: asyncio.Event = field(default_factory=asyncio.Event)  # nothing more is begun
    _rows: dict[str, BoardRow] = field(default_factory=dict)  # the ledger's: nobody else writes

    def __post_init__(self) -> None:
        self._rows.update({row.name: row for row in self.ledger.boards(self.rollout.id)})

    @property
    def plan(self) -> Plan:
        return self.rollout.plan

    @property
    def mark(self) -> str:
        """By which a board's lease is known to be of this rollout, whichever host took it."""
        began = f"{self.rollout.began_unix_s!r} {self.plan.digest}"
        return f"fleet {self.fleet} {hashlib.sha256(began.encode()).hexdigest()[:8]}"

    @property
    def conditions(self) -> list[Condition]:
        return self.plan.conditions()

    def row(self, name: str) -> BoardRow:
        return self._rows[name]

    def rows(self) -> list[BoardRow]:
        return list(self._rows.values())

    def note(self, name: str, **values: str | int | Mapping[str, object]) -> None:
        self.ledger.note(self.rollout.id, name, **values)
        self._rows[name] = self.ledger.board(self.rollout.id, name)

    def tell(self, event: Progress) -> None:
        self.on_progress(event)
