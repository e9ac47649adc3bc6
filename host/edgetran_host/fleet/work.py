"""What all visits to a rollout's boards have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    halt: asyncio.Event = field(default_factory=asyncio.Event)  # nothing more is begun

    @property
    def plan(self) -> Plan:
        return self.rollout.plan

    @property
    def conditions(self) -> list[Condition]:
        return self.plan.conditions()

    def row(self, name: str) -> BoardRow:
        return self.ledger.board(self.rollout.id, name)

    def rows(self) -> list[BoardRow]:
        return self.ledger.boards(self.rollout.id)

    def note(self, name: str, **values: str | int | Mapping[str, object]) -> None:
        self.ledger.note(self.rollout.id, name, **values)

    def tell(self, event: Progress) -> None:
        self.on_progress(event)
