"""Designs and what trainings of them scored: all that an accuracy predictor learns from.

A table is JSON; `benchmarks/scored_designs.json` is one:

    {"format": "edgetran-scored-designs", "version": 1, ...the recipe...,
     "designs": [{"architecture": {...}, "transfer": {"held_out": 0.71, ...},
                  "full": {"held_out": 0.86, ...}, ...}, ...]}

Fidelities are by name, cheapest first in the recipe; "full" is the one to foretell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetran_protos.errors import ArchitectureError, DataError

from edgetran_host.cosearch.fidelities import FULL, Seen
from edgetran_host.space.architecture import Architecture

FORMAT = "edgetran-scored-designs"
VERSION = 1
MAKE = "python benchmarks/score_designs.py FOLDER makes such a table"


@dataclass(frozen=True)
class ScoredDesign:
    """The score of a whole training, 0 to 1, and those of cheaper fidelities before it."""

    architecture: Architecture
    score: float
    cheap: Mapping[str, float] = field(default_factory=dict)  # fidelity -> score


def read_table(path: Path) -> list[ScoredDesign]:
    """Raises DataError for anything else."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise DataError(f"cannot read the table of designs {path}: {exc}", hint=MAKE) from exc
    if not isinstance(raw, dict) or (raw.get("format"), raw.get("version")) != (FORMAT, VERSION):
        raise DataError(f"{path} is no table of scored designs of version {VERSION}", hint=MAKE)
    try:
        names = [name for name in raw["fidelities"] if name != FULL]
        return [_design(one, names) for one in raw["designs"]]
    except (KeyError, TypeError, ValueError, AttributeError, ArchitectureError) as exc:
        raise DataError(f"{path} is damaged: {exc!r}", hint=MAKE) from exc


def _design(raw: Mapping[str, Any], names: Sequence[str]) -> ScoredDesign:
    return ScoredDesign(
        Architecture.from_dict(raw["architecture"]),
        float(raw[FULL]["held_out"]),
        {name: float(raw[name]["held_out"]) for name in names if name in raw},
    )


def scored_designs(seen: Sequence[Seen], fidelity: str = FULL) -> list[ScoredDesign]:
    """A search's own: each design that was trained to `fidelity`, its scores averaged.

    Scores are of the design alone, so trials on several boards count as repeats.
    """
    found: dict[Architecture, dict[str, list[float]]] = {}
    for one in seen:
        if one.score is not None:
            found.setdefault(one.design, {}).setdefault(one.request.fidelity, []).append(one.score)
    means = {
        design: {name: sum(scores) / len(scores) for name, scores in by_fidelity.items()}
        for design, by_fidelity in found.items()
    }
    return [
        ScoredDesign(design, scores[fidelity], {k: v for k, v in scores.items() if k != fidelity})
        for design, scores in means.items()
        if fidelity in scores
    ]


def shared_fidelities(designs: Sequence[ScoredDesign]) -> list[str]:
    """Cheap ones that every design was scored at."""
    names = [set(one.cheap) for one in designs]
    return [name for name in designs[0].cheap if all(name in each for each in names)]
