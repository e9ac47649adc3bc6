"""Figures of a board that is not here: its model applied to the graph's work.

Nothing in here was measured on the board; every record says so and names its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Optional

from edgetran_devices import UnitModel, predict
from edgetran_protos.bundle import Variant, Work
from edgetran_protos.measuring.document import SCHEMA, sealed
from edgetran_protos.measuring.quantity import Quantity
from edgetran_protos.measuring.reasons import MODELLED

from edgetran_daemon.measuring.records import MeasureRecord

REASONS = (
    "board_is_emulated",
    "load_time_of_the_emulating_machine",
    "peak_memory_of_the_emulating_machine",
)


def modelled(facts: Mapping[str, Any], unit: UnitModel, work: Work) -> MeasureRecord:
    """facts: of the trial that showed that the model works, and of the board."""
    found = predict(unit, work, facts["batch_size"])

    def quantity(value: float) -> Quantity:
        error = unit.relative_error
        return Quantity(value, value * (1 - error), value * (1 + error))

    figures = {
        "latency_p50_s": quantity(found.latency_s),
        "latency_p95_s": quantity(found.latency_s * unit.p95_ratio),
        "latency_p99_s": quantity(found.latency_s * unit.p99_ratio),
        "energy_j": quantity(found.energy_j),
        "peak_power_w": quantity(found.peak_power_w),
    }
    facts = {**facts, "source": unit.source}
    document = {
        "schema": SCHEMA,
        "modelled": True,
        "facts": {**facts, "work": asdict(work)},
        "conditions": {},
        "sensor": None,
        "asked": {},
        "samples": [],
        "figures": {name: asdict(value) for name, value in figures.items()},
        "verdict": MODELLED,
        "reasons": list(REASONS),
    }
    shown = {name: value for name, value in facts.items() if name != "title"}
    return MeasureRecord(
        **shown,
        latency_p50_s=figures["latency_p50_s"],
        latency_p95_s=figures["latency_p95_s"],
        latency_p99_s=figures["latency_p99_s"],
        energy_j=figures["energy_j"],
        peak_power_w=figures["peak_power_w"],
        modelled=True,
        verdict=MODELLED,
        reasons=REASONS,
        latency_cv=0.0,
        runs_a_block=0,
        samples_s=(),
        document=sealed(document),
    )


class BoardClock:
    """What the emulated board would have spent on the requests answered so far."""

    def __init__(self, unit: Optional[UnitModel]) -> None:
        self._unit = unit
        self.busy_s = 0.0

    def charge(self, variant: Variant, rows: int) -> Optional[float]:
        """Modelled seconds of one inference of `rows` rows; None on a real board."""
        if self._unit is None:
            return None
        latency_s = predict(self._unit, variant.work, rows).latency_s
        self.busy_s += latency_s
        return latency_s
