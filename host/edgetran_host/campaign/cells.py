"""The ledger of a campaign: one file a (board, design) cell, whole or not there.

CAMPAIGN/cells/BOARD/<design>.json    what came of it, written once
CAMPAIGN/records/BOARD/<design>/      its record, to verify
CAMPAIGN/data/BOARD.json              rows for `edgetran surrogate fit`, made from the cells
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from edgetran import Measurement
from edgetran_protos.errors import EdgeTranError
from edgetran_protos.measuring.reasons import INVALID

from edgetran_host.job.run_directory import write_atomically
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id

DIGITS = 16  # of a design's name in file names


class Cells:
    """Those of one board."""

    def __init__(self, campaign: Path, target: str) -> None:
        self._name = re.sub(r"[^A-Za-z0-9._-]+", "-", target).strip("-")
        self._cells = campaign / "cells" / self._name
        self._records = campaign / "records" / self._name
        self._data = campaign / "data" / f"{self._name}.json"
        self._cells.mkdir(parents=True, exist_ok=True)

    def path(self, design: Architecture) -> Path:
        return self._cells / f"{short_name(design)}.json"

    def done(self, design: Architecture) -> bool:
        return self.path(design).exists()

    def fresh_record(self, design: Architecture) -> Path:
        """Where the record goes; what a killed attempt left is gone."""
        for path in self._records.glob(f"{short_name(design)}*"):
            shutil.rmtree(path)
        return self._records / short_name(design)

    def keep(self, design: Architecture, record: Measurement, path: Path, batch: int) -> None:
        assert record.latency_p50_s is not None
        row = {
            "architecture": design.to_dict(),
            "latency_s": record.latency_p50_s.value,
            "energy_j": record.energy_j.value if record.energy_j else None,
            "peak_power_w": record.peak_power_w.value if record.peak_power_w else None,
            "batch_size": batch,
            "order": self.count(),
            "board": f"{record.board}:{record.unit}",
            "verdict": record.verdict,
            "modelled": record.modelled,
        }
        self._write(design, {"row": row, "record": path.name, "reasons": list(record.reasons)})

    def fail(self, design: Architecture, error: EdgeTranError) -> None:
        """The board answers, but cannot run this design."""
        self._write(design, {"failed": f"{type(error).__name__}: {error}"})

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(self._cells.glob("*.json"))]

    def count(self) -> int:
        return len(list(self._cells.glob("*.json")))

    def valid_rows(self) -> list[dict[str, Any]]:
        """The rows to learn from, in the order of measuring; invalid ones are no figures."""
        rows = [cell["row"] for cell in self.all() if "row" in cell]
        valid = [row for row in rows if row["verdict"] != INVALID]
        return sorted(valid, key=lambda row: int(row["order"]))

    def write_data(self) -> Path:
        lines = [json.dumps(row) for row in self.valid_rows()]
        self._data.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._data, ("[\n" + ",\n".join(lines) + "\n]\n").encode())
        return self._data

    def _write(self, design: Architecture, cell: dict[str, Any]) -> None:
        write_atomically(self.path(design), json.dumps(cell, indent=1).encode())


def short_name(design: Architecture) -> str:
    return architecture_id(design)[:DIGITS]
