"""A surrogate as JSON: numbers with names, a schema version, nothing that runs.

    {"format": "edgetran-surrogate", "version": 1, "terms": [...], "campaigns": [...],
     "rows": n, "setting": {...}, "measures": {"latency_s": {"model": {...}, ...}, ...}}

Costs stand by the name of their term; a term that costs nothing is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.job.run_directory import write_atomically
from edgetran_host.surrogates.campaigns import Campaign
from edgetran_host.surrogates.cost_model import CostModel, Effects
from edgetran_host.surrogates.polling import Polling
from edgetran_host.surrogates.residual import Residual
from edgetran_host.surrogates.sessions import Drift
from edgetran_host.surrogates.surrogate import Confidence, MeasureModel, Surrogate
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS, WORK_TERMS

FORMAT = "edgetran-surrogate"
VERSION = 1


def save(surrogate: Surrogate, path: Path) -> None:
    text = json.dumps(to_json(surrogate), indent=1, allow_nan=False)
    write_atomically(path, text.encode())


def load(path: Path) -> Surrogate:
    """Raises DataError for anything that `save` does not write."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise DataError(f"{path} does not exist", hint="check the path") from exc
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise DataError(f"{path} is no JSON: {exc}", hint="edgetran surrogate fit") from exc
    return from_json(raw, str(path))


def to_json(surrogate: Surrogate) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "terms": list(surrogate.names),
        "campaigns": [
            {
                "name": one.name,
                "places": {str(order): digits for order, digits in one.places.items()},
            }
            for one in surrogate.campaigns
        ],
        "rows": surrogate.rows,
        "setting": dict(surrogate.setting),
        "measures": {
            name: _measure_to_json(measure, surrogate.names)
            for name, measure in surrogate.measures.items()
        },
    }


def from_json(raw: Any, where: str = "the surrogate") -> Surrogate:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise DataError(
            f"{where} is no surrogate", hint="`edgetran surrogate fit DATA.json --out MODEL`"
        )
    if raw.get("version") != VERSION:
        raise DataError(
            f"{where} has version {raw.get('version')!r}, this edgetran reads {VERSION}",
            hint="fit it again from its rows, or install the edgetran that wrote it",
        )
    try:
        names = tuple(raw["terms"])
        if names not in (tuple(ARCHITECTURE_TERMS), tuple(WORK_TERMS)):
            raise ValueError("its terms are not those of this edgetran")
        return Surrogate(
            names=names,
            campaigns=tuple(
                Campaign(
                    one["name"], {int(order): digits for order, digits in one["places"].items()}
                )
                for one in raw["campaigns"]
            ),
            rows=int(raw["rows"]),
            setting=dict(raw["setting"]),
            measures={
                name: _measure_from_json(one, names) for name, one in raw["measures"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise DataError(f"{where} is damaged: {exc}", hint="fit it again from its rows") from exc


def _measure_to_json(measure: MeasureModel, names: tuple[str, ...]) -> dict[str, Any]:
    model = measure.model
    costs = {name: float(cost) for name, cost in zip(names, model.costs) if cost}
    return {
        "half_width": measure.half_width,
        "error": measure.error,
        "confidence": vars(measure.confidence),
        "curve": {str(count): error for count, error in measure.curve.items()},
        "scale": measure.scale,
        "constant_scale": measure.constant_scale,
        "model": {
            "effects": vars(model.effects),
            "constant": model.constant,
            "costs": costs,
            "least": model.least,
            "most": model.most,
            "cliff_bytes": model.cliff_bytes,
            "cliff_cost": model.cliff_cost,
            "polling": model.polling and vars(model.polling),
            "drift": model.drift and _plain(vars(model.drift)),
            "residual": model.residual and _plain(vars(model.residual)),
        },
    }


def _measure_from_json(raw: Mapping[str, Any], names: tuple[str, ...]) -> MeasureModel:
    model = raw["model"]
    unknown = set(model["costs"]) - set(names)
    if unknown:
        raise ValueError(f"it has costs of unknown terms: {', '.join(sorted(unknown))}")
    return MeasureModel(
        model=CostModel(
            effects=Effects(**model["effects"]),
            constant=float(model["constant"]),
            costs=np.array([float(model["costs"].get(name, 0.0)) for name in names]),
            least=float(model["least"]),
            most=model.get("most") and float(model["most"]),
            cliff_bytes=float(model["cliff_bytes"]),
            cliff_cost=float(model["cliff_cost"]),
            polling=model["polling"] and Polling(**model["polling"]),
            drift=model["drift"] and Drift(**_arrays(model["drift"])),
            residual=model["residual"] and Residual(**_arrays(model["residual"])),
        ),
        half_width=float(raw["half_width"]),
        error=float(raw["error"]),
        confidence=Confidence(**raw["confidence"]),
        curve={int(count): float(error) for count, error in raw["curve"].items()},
        scale=float(raw["scale"]),
        constant_scale=float(raw["constant_scale"]),
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: np.array(value, dtype=float) if isinstance(value, list) else value
        for name, value in values.items()
    }
