"""The figures of a modelled record, derived from its facts: by the daemon, and by who verifies.

facts: `batch_size` and `calibration`; a published one also needs `architecture`,
`sequence_length` and `precision`, and draws scatter where `seed` and `place` are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Optional

from edgetran_devices.calibration import RESIDENT, Draw, predict_published
from edgetran_devices.catalogue import UnitModel
from edgetran_devices.cost import Work, predict
from edgetran_devices.prediction import Prediction

Z95, Z99 = 1.645, 2.326  # of the normal distribution: a published percentile is its scatter's

Figure = tuple[float, float, float]  # value, low, high


def figures(unit: UnitModel, work: Work, facts: Mapping[str, Any]) -> dict[str, Optional[Figure]]:
    """By a record's names; None: not known. Raises NotCovered, KeyError."""
    name = facts.get("calibration", RESIDENT)
    if name == RESIDENT:
        found = predict(unit, work, facts["batch_size"])
        ratios = (unit.p95_ratio, unit.p99_ratio)
    else:
        found = _published(unit, name, facts)
        scatter = unit.calibrations[name].scatter.latency
        ratios = (math.exp(Z95 * scatter), math.exp(Z99 * scatter))
    latency, energy, peak = found.errors

    def figure(value: Optional[float], error: float) -> Optional[Figure]:
        return None if value is None else (value, *found.interval(value, error))

    return {
        "latency_p50_s": figure(found.latency_s, latency),
        "latency_p95_s": figure(found.latency_s * ratios[0], latency),
        "latency_p99_s": figure(found.latency_s * ratios[1], latency),
        "energy_j": figure(found.energy_j, energy),
        "peak_power_w": figure(found.peak_power_w, peak),
    }


def _published(unit: UnitModel, name: str, facts: Mapping[str, Any]) -> Prediction:
    seed = facts.get("seed")
    return predict_published(
        unit.calibrations[name],
        facts["architecture"],
        facts["batch_size"],
        sequence_length=facts["sequence_length"],
        precision=facts["precision"],
        draw=None if seed is None else Draw(seed, facts["place"]),
    )
