"""What the published study would have written down of a design: the life of a whole process.

    y = round_up(scatter * max(c0 + sum_k c_k x_k + c_m max(0, memory - m0), least)) * scale

x are the terms of an architecture, c the costs of `published/`, learnt from the study's rows;
a polling loop rounds latency up. A figure is of one sequence of a run over many: interpreter,
imports and loading are in it. Scatter is that of one measurement and of the session it falls
in; it is drawn from a seed and a place, so that a study can be repeated to the last digit.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

from edgetran_devices.architecture_terms import SEQUENCE_LENGTH, architecture_terms
from edgetran_devices.prediction import Prediction

RESIDENT = "resident"  # steady inference of a loaded model: `cost.predict`
PUBLISHED = Path(__file__).parent / "published"
PARAMETER_BYTES = 4
PRECISION = "fp32"
MEASURES = ("latency_s", "energy_j", "peak_power_w")


class NotCovered(ValueError):
    """The calibration says nothing of such a model."""


@dataclass(frozen=True)
class Spread:
    """One share a measure."""

    latency: float
    energy: float
    peak: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.latency, self.energy, self.peak))


@dataclass(frozen=True)
class Calibration:
    """A unit's published figures, as one campaign of the study saw them."""

    name: str  # "protran-2022"
    costs: str  # file in `published/`
    campaign: str
    confidence: str  # "high" or "low"
    error: Spread  # half-width of the 90 % interval, as a share
    scatter: Spread  # of one measurement: standard deviation of the logarithm
    session_scatter: float  # of latency and energy from session to session, alike
    session_length: int  # measurements until the set-up changes
    scale: Spread  # of this campaign over the one that the costs are from
    source: str


@dataclass(frozen=True)
class Draw:
    """The `place`-th measurement of a study that began with `seed`."""

    seed: int
    place: int

    def factors(self, calibration: Calibration) -> tuple[float, float, float]:
        """What scatter makes of latency, energy and peak.

        Latency and energy scatter together: their published logarithms correlate by 0.96 to 1.
        """
        start = f"{calibration.name}/{calibration.costs}/{self.seed}"
        session = self.place // calibration.session_length
        drift = calibration.session_scatter * random.Random(f"{start}/s{session}").gauss(0, 1)
        own = random.Random(f"{start}/m{self.place}")
        together, peak = own.gauss(0, 1), own.gauss(0, 1)
        scatter = calibration.scatter
        return (
            math.exp(drift + scatter.latency * together),
            math.exp(drift + scatter.energy * together),
            math.exp(scatter.peak * peak),
        )


def predict_published(
    calibration: Calibration,
    architecture: Mapping[str, Any],
    batch_size: int = 1,
    *,
    sequence_length: int = SEQUENCE_LENGTH,
    precision: str = PRECISION,
    draw: Optional[Draw] = None,
) -> Prediction:
    """Of batch_size sequences; draw None: without scatter. Raises NotCovered."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if sequence_length != SEQUENCE_LENGTH:
        raise NotCovered(
            f"the study measured {SEQUENCE_LENGTH} tokens, this model takes {sequence_length}"
        )
    if precision != PRECISION:
        raise NotCovered(f"the study measured {PRECISION}, this variant is {precision}")
    try:
        terms = architecture_terms(architecture)
    except ValueError as exc:
        raise NotCovered(f"the study's figures are of architectures, and this is {exc}") from exc
    factors = draw.factors(calibration) if draw else (1.0, 1.0, 1.0)
    models = _models(calibration.costs)
    latency_s, energy_j, peak_w = (
        scale * _value(models[name], terms, factor)
        for name, scale, factor in zip(MEASURES, calibration.scale, factors)
    )
    error = calibration.error
    return Prediction(
        latency_s * batch_size,
        energy_j * batch_size,
        max(peak_w, energy_j / latency_s),  # a peak is no less than the mean
        error.latency,
        error.energy,
        error.peak,
        in_ratio=True,
    )


def _value(model: Mapping[str, Any], terms: Mapping[str, float], factor: float) -> float:
    memory = PARAMETER_BYTES * (terms["embedding_parameters"] + terms["layer_parameters"])
    cliff = model["cliff_cost"] * max(0.0, memory - model["cliff_bytes"])
    work = sum(cost * terms[name] for name, cost in model["costs"].items())
    found = factor * max(model["constant"] + work + cliff, model["least"])
    polling = model["polling"]
    if not polling:
        return float(found)
    polls = max(1, math.ceil((found - polling["phase"]) / polling["step"]))
    return float(polling["phase"] + polling["step"] * polls)


@lru_cache(maxsize=None)
def _models(file: str) -> Mapping[str, Any]:
    raw = json.loads((PUBLISHED / file).read_text(encoding="utf-8"))
    return {name: raw["measures"][name]["model"] for name in MEASURES}


def read_calibration(name: str, values: Mapping[str, Any]) -> Calibration:
    """Of a board file's table [units.UNIT.calibrations.NAME]."""
    spreads = {key: Spread(**values[key]) for key in ("error", "scatter")}
    scale = Spread(**values.get("scale", {"latency": 1.0, "energy": 1.0, "peak": 1.0}))
    return Calibration(name=name, **{**values, **spreads, "scale": scale})
