"""What a calibration has measured so far, so that a killed one goes on where it stopped.

CALIBRATIONS/NAME/<moment>/plan.json          what is measured under what; names the board
CALIBRATIONS/NAME/<moment>/cells/GRAPH.json   one graph's figures, or why it failed; written once
CALIBRATIONS/NAME/<moment>/records/GRAPH/     its record, to verify
CALIBRATIONS/NAME/<moment>/finished.json      the errors; from then on the folder only keeps records
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgetran import Measurement
from edgetran.places import home
from edgetran_protos.bundle import Work
from edgetran_protos.errors import EdgeTranError

from edgetran_host.calibrating.fitting import Measured
from edgetran_host.calibrating.graphs import Specimen
from edgetran_host.job.run_directory import write_atomically

WIDEST = 0.10  # half of a median's 95 % interval, as a share: beyond, it is no figure
NO_FIGURES = {"too_few_samples", "broke_off"}
PLAN, FINISHED = "plan.json", "finished.json"


class Ledger:
    """One calibration's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / "cells"

    @staticmethod
    def open(name: str, plan: Mapping[str, Any]) -> Ledger:
        """The newest unfinished one of the same plan, else a new one."""
        board = home() / "calibrations" / name
        for folder in sorted(board.glob("[0-9]*"), reverse=True):
            if (folder / FINISHED).exists() or not (folder / PLAN).exists():
                continue
            if json.loads((folder / PLAN).read_bytes()) == json.loads(json.dumps(plan)):
                found = Ledger(folder)
                found._give_another_chance()
                return found
        now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
        made = Ledger(board / now)
        made._cells.mkdir(parents=True)
        write_atomically(made.folder / PLAN, json.dumps(plan, indent=1).encode())
        return made

    def done(self, specimen: Specimen) -> bool:
        return self._cell(specimen).exists()

    def fresh_record(self, specimen: Specimen) -> Path:
        """Where its record goes; what a killed attempt left is gone."""
        record = self.folder / "records" / specimen.name
        for path in (record, *record.parent.glob(f"{specimen.name}-[0-9]")):  # further attempts
            shutil.rmtree(path, ignore_errors=True)
        return record

    def keep(self, specimen: Specimen, record: Measurement, work: Work, path: Path) -> None:
        if record.latency_p50_s is None or median_width(record) > WIDEST:
            reasons = ", ".join(record.reasons)
            self._write(specimen, {"failed": f"its median is not sure: {reasons}", "again": True})
            return
        values = {
            "latency_s": record.latency_p50_s.value,
            "p95_s": (record.latency_p95_s or record.latency_p50_s).value,
            "p99_s": (record.latency_p99_s or record.latency_p50_s).value,
            "energy_j": record.energy_j.value if record.energy_j else None,
            "peak_power_w": record.peak_power_w.value if record.peak_power_w else None,
            "idle_power_w": record.idle_power_w,
        }
        cell = {"work": asdict(work), "values": values, "record": path.name}
        self._write(
            specimen, {**cell, "digest": record.document["digest"], "runtime": record.runtime}
        )

    def fail(self, specimen: Specimen, error: EdgeTranError) -> None:
        """The board answers, but cannot run this graph."""
        self._write(specimen, {"failed": f"{type(error).__name__}: {error}"})

    def measured(self, specimens: Sequence[Specimen]) -> list[Measured]:
        cells = [(one.name, self._read(one)) for one in specimens]
        return [
            Measured(name=name, work=Work(**cell["work"]), **cell["values"])
            for name, cell in cells
            if "values" in cell
        ]

    def failed(self, specimens: Sequence[Specimen]) -> dict[str, str]:
        """Graph -> why."""
        cells = [(one.name, self._read(one)) for one in specimens]
        return {name: cell["failed"] for name, cell in cells if "failed" in cell}

    def sources(self, specimens: Sequence[Specimen], key: str) -> list[str]:
        """`digest` or `runtime` of all records."""
        found = (self._read(one).get(key) for one in specimens)
        return [value for value in found if value]

    def finish(self, result: Mapping[str, Any]) -> None:
        write_atomically(self.folder / FINISHED, json.dumps(result, indent=1).encode())
        shutil.rmtree(self.folder / "bundles", ignore_errors=True)  # made again at need

    def _give_another_chance(self) -> None:
        """What was no valid measurement then may be one now."""
        for path in self._cells.glob("*.json"):
            if json.loads(path.read_bytes()).get("again"):
                path.unlink()

    def _cell(self, specimen: Specimen) -> Path:
        return self._cells / f"{specimen.name}.json"

    def _read(self, specimen: Specimen) -> dict[str, Any]:
        cell: dict[str, Any] = json.loads(self._cell(specimen).read_bytes())
        return cell

    def _write(self, specimen: Specimen, cell: Mapping[str, Any]) -> None:
        write_atomically(self._cell(specimen), json.dumps(cell, indent=1).encode())


def median_width(record: Measurement) -> float:
    """Half of its 95 % interval, as a share.

    A single pause of a busy machine spoils the tail and so the verdict; a median stands it.
    """
    p50 = record.latency_p50_s
    if p50 is None or p50.low is None or p50.high is None or NO_FIGURES & set(record.reasons):
        return math.inf
    return max(p50.high - p50.value, p50.value - p50.low) / p50.value
