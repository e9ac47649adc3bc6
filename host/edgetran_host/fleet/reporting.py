"""What was promised and what each board delivers, and how the fleet stands as a whole."""

from __future__ import annotations

import statistics
from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import Bundle, BundleCard
from edgetran_protos.errors import BundleError

from edgetran_host.fleet.delivered import FIGURES, SCORES, Delivered, promise
from edgetran_host.fleet.fleet_file import Fleet
from edgetran_host.fleet.ledger import DEPLOYED, KEPT, BoardRow, Ledger, Rollout
from edgetran_host.fleet.running import ledger_path

SHOWN = (*FIGURES, *SCORES)


def report(fleet: Fleet) -> dict[str, Any]:
    """Plain data: what `--json` prints and the table is made of."""
    path = ledger_path(fleet.path)
    if not path.exists():
        return {"fleet": fleet.name, "rollout": None, "boards": [], "counts": {}}
    with closing(Ledger(path)) as ledger:
        rollout = ledger.last()
        rows = ledger.boards(rollout.id) if rollout else []
    if rollout is None:
        return {"fleet": fleet.name, "rollout": None, "boards": [], "counts": {}}
    card = _card(rollout)
    names = {board.name: board.address for board in fleet.boards}
    boards = [_board(row, card, names.get(row.name)) for row in rows]
    late = [name for name in names if name not in {row.name for row in rows}]
    return {
        "fleet": fleet.name,
        "rollout": {
            "id": rollout.id,
            "status": rollout.status,
            "reason": rollout.reason,
            "began_unix_s": rollout.began_unix_s,
            "ended_unix_s": rollout.ended_unix_s,
            "plan": rollout.plan.to_json(),
        },
        "counts": dict(Counter(row.state for row in rows)),
        "new": late,  # in the file, not in the rollout yet
        "boards": boards,
        "together": _together(boards),
    }


def _card(rollout: Rollout) -> BundleCard | None:
    """None: the bundle is not where it was; its promises are not known then."""
    with suppress(BundleError, OSError):
        found = Bundle.open(Path(rollout.plan.bundle))
        return found.card if found.digest == rollout.plan.digest else None
    return None


def _board(row: BoardRow, card: BundleCard | None, address: str | None) -> dict[str, Any]:
    found = Delivered.from_json(row.delivered)
    figures = {}
    for name in SHOWN:
        claim = promise(card, name, row.place, row.variant) if card else None
        value = found.value(name)
        if claim is not None or value is not None:
            figures[name] = {"promised": claim.value if claim else None, "delivered": value}
    return {
        "name": row.name,
        "address": address,  # None: it is not in fleet.toml any more
        "wave": row.wave + 1,
        "state": row.state,
        "reason": row.reason,
        "place": row.place,
        "variant": row.variant,
        "changed": row.changed,
        "before": row.before_digest,
        "modelled": found.modelled,
        "figures": figures,
        "delivered": asdict(found) if row.delivered else None,
        "at_unix_s": row.at_unix_s,
    }


def _together(boards: list[dict[str, Any]]) -> dict[str, Any]:
    """Of boards that serve it, by kind: the promise, the median and the worst."""
    boards = [board for board in boards if board["state"] in (DEPLOYED, KEPT)]
    found: dict[str, Any] = {}
    for place in sorted({board["place"] for board in boards if board["figures"]}):
        of_place = [board["figures"] for board in boards if board["place"] == place]
        figures = {}
        for name in SHOWN:
            both = [one[name] for one in of_place if name in one]
            values = [one["delivered"] for one in both if one["delivered"] is not None]
            if values:
                worst = min(values) if name in SCORES else max(values)
                promised = next((x["promised"] for x in both if x["promised"] is not None), None)
                figures[name] = {
                    "promised": promised,
                    "median": statistics.median(values),
                    "worst": worst,
                    "boards": len(values),
                }
        found[place] = figures
    return found
