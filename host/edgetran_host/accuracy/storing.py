"""A predictor as JSON: designs, scores and learnt numbers, a schema version, nothing that runs.

    {"format": "edgetran-accuracy", "version": 1, "space": {...}, "cheap": "transfer" or null,
     "scales": [...], "width": w, "gate": {...}, "designs": [{"architecture", "score", "cheap"}]}

`space` is the design space that the features are standardised on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.errors import ArchitectureError, DataError

from edgetran_host.accuracy.gate import Gate
from edgetran_host.accuracy.predictor import AccuracyPredictor, Fit
from edgetran_host.accuracy.scored import ScoredDesign
from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.job.run_directory import write_atomically
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace

FORMAT = "edgetran-accuracy"
VERSION = 1
AGAIN = "fit it again from its trained designs"


def save(predictor: AccuracyPredictor, path: Path) -> None:
    write_atomically(path, json.dumps(to_json(predictor), indent=1, allow_nan=False).encode())


def load(path: Path) -> AccuracyPredictor:
    """Raises DataError for anything that `save` does not write."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise DataError(f"cannot read the predictor {path}: {exc}", hint=AGAIN) from exc
    return from_json(raw, str(path))


def to_json(predictor: AccuracyPredictor) -> dict[str, Any]:
    fit = predictor.fit
    return {
        "format": FORMAT,
        "version": VERSION,
        "space": asdict(predictor.features.space),
        "cheap": predictor.cheap,
        "scales": fit.scales.tolist(),
        "width": _number(fit.width),
        "gate": {name: _number(value) for name, value in asdict(fit.gate).items()},
        "designs": [
            {
                "architecture": one.architecture.to_dict(),
                "score": one.score,
                "cheap": dict(one.cheap),
            }
            for one in predictor.designs
        ],
    }


def from_json(raw: Any, where: str = "the predictor") -> AccuracyPredictor:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DataError(f"{where} is no accuracy predictor", hint=AGAIN)
    if raw.get("version") != VERSION:
        raise DataError(
            f"{where} has version {raw.get('version')!r}, this edgetran reads {VERSION}",
            hint=f"{AGAIN}, or install the edgetran that wrote it",
        )
    try:
        gate = raw["gate"]
        return AccuracyPredictor(
            ArchitectureFeatures(_space(raw["space"])),
            [
                ScoredDesign(
                    Architecture.from_dict(one["architecture"]),
                    float(one["score"]),
                    {str(name): float(score) for name, score in one["cheap"].items()},
                )
                for one in raw["designs"]
            ],
            raw["cheap"],
            Fit(
                np.array(raw["scales"], dtype=float),
                _value(raw["width"]),
                Gate(
                    int(gate["designs"]),
                    _value(gate["error"]),
                    _value(gate["constant_error"]),
                    _value(gate["spearman"]),
                ),
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArchitectureError) as exc:
        raise DataError(f"{where} is damaged: {exc!r}", hint=AGAIN) from exc


def _space(raw: dict[str, Any]) -> DesignSpace:
    lists = {name: tuple(value) for name, value in raw.items() if name != "name"}
    return DesignSpace(name=str(raw["name"]), **lists)


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value


def _value(raw: float | None) -> float:
    return float("nan") if raw is None else float(raw)
