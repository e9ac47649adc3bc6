"""What a fleet's boards deliver, as rows that a surrogate learns from (surrogates/rows.py).

One row a rollout, kind of board and variant: the medians over the boards that were measured
there. Invalid measurements are no figures; a rollout whose bundle is gone is named.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import Bundle, BundleCard
from edgetran_protos.errors import BundleError, UnknownVariant, UsageError

from edgetran_host.fleet.delivered import INVALID, Delivered
from edgetran_host.fleet.fleet_file import Fleet
from edgetran_host.fleet.ledger import Ledger, Rollout
from edgetran_host.fleet.running import ledger_path
from edgetran_host.job.run_directory import write_atomically

MEASURES = {"latency_s": "latency_p50_s", "energy_j": "energy_j", "peak_power_w": "peak_power_w"}
LAYERS = {"l", "o", "h", "f"}  # keys of an architecture that surrogates know

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    files: Mapping[str, tuple[Path, int]]  # kind of board -> its file, and how many rows it has
    without: tuple[str, ...]  # bundles that are not where they were


def write_rows(fleet: Fleet, folder: Path) -> Rows:
    """folder/<board>-<unit>.json of all rollouts so far. Raises UsageError."""
    path = ledger_path(fleet.path)
    if not path.exists():
        raise UsageError(f"nothing was deployed to {fleet.name} yet", hint="deploy to it first")
    with closing(Ledger(path)) as ledger:
        found: dict[str, list[Row]] = defaultdict(list)
        without = []
        for rollout in ledger.rollouts():
            card = _card(rollout)
            if card is None:
                without.append(rollout.plan.bundle)
                continue
            for place, row in _rows(ledger, rollout, card):
                found[place].append({**row, "order": len(found[place])})
    folder.mkdir(parents=True, exist_ok=True)
    return Rows(
        {place: _written(folder, place, rows) for place, rows in found.items()}, (*without,)
    )


def _card(rollout: Rollout) -> BundleCard | None:
    try:
        found = Bundle.open(Path(rollout.plan.bundle))
    except (BundleError, OSError):
        return None
    return found.card if found.digest == rollout.plan.digest else None


def _rows(ledger: Ledger, rollout: Rollout, card: BundleCard) -> list[tuple[str, Row]]:
    groups: dict[tuple[str, str, bool], list[Delivered]] = defaultdict(list)
    for board in ledger.boards(rollout.id):
        found = Delivered.from_json(board.delivered)
        if found.value("latency_p50_s") is not None and found.verdict != INVALID:
            groups[board.place, board.variant, found.modelled].append(found)
    return [
        (place, {**_design(card, variant), **_medians(found), "board": place, "modelled": modelled})
        for (place, variant, modelled), found in sorted(groups.items())
    ]


def _design(card: BundleCard, variant: str) -> Row:
    try:
        work = asdict(card.variant(variant).work)
    except UnknownVariant:
        work = {}
    architecture = dict(card.architecture)
    known = set(architecture) == LAYERS
    return {"work": work, "architecture": architecture if known else None}


def _medians(found: Sequence[Delivered]) -> Row:
    row: Row = {"batch_size": 1, "verdict": found[0].verdict}
    for name, figure in MEASURES.items():
        values = [value for one in found if (value := one.value(figure)) is not None]
        row[name] = statistics.median(values) if values else None
    return row


def _written(folder: Path, place: str, rows: Sequence[Row]) -> tuple[Path, int]:
    """A file is of one kind: architectures where all rows have one, else the graphs' work."""
    dropped = "work" if all(row["architecture"] for row in rows) else "architecture"
    lines = [json.dumps({k: v for k, v in row.items() if k != dropped}) for row in rows]
    path = folder / f"{re.sub('[^A-Za-z0-9._-]+', '-', place)}.json"
    write_atomically(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())
    return path, len(rows)
