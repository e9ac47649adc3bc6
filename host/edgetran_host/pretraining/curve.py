"""What a run learnt and when: curve.jsonl, a line for every few steps.

A line {"step", "seconds", "loss", "rate", "norm"} is about the steps since the line before;
one {"step", "seconds", "held_out"} is a look at held-out text. Losses are nats a token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgetran_host.job.run_directory import write_atomically

CURVE = "curve.jsonl"


class Curve:
    """Appends; `cut` takes back what a killed run had written beyond its saved state."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CURVE

    def cut(self, step: int) -> None:
        kept = [point for point in read_curve(self._file.parent) if point["step"] <= step]
        lines = "".join(json.dumps(point) + "\n" for point in kept)
        write_atomically(self._file, lines.encode())

    def add(self, **point: float) -> None:
        rounded = {key: float(f"{value:.6g}") for key, value in point.items() if key != "step"}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": int(point["step"]), **rounded}) + "\n")


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """A last line that was cut is left out."""
    file = folder / CURVE
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def of_kind(points: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the lines that have `key`."""
    chosen = [point for point in points if key in point]
    return [point["step"] for point in chosen], [point[key] for point in chosen]
