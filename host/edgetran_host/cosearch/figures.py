"""Figures of a search as people read them: SI with a prefix that fits, gains in per cent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

UNITS = {"latency_s": "s", "energy_j": "J", "peak_power_w": "W", "size_bytes": "B"}
TITLES = {
    "score": "score",
    "latency_s": "latency",
    "energy_j": "energy",
    "peak_power_w": "peak power",
    "size_bytes": "size",
}
OPTIONS = {
    "latency_s": "--max-latency",
    "energy_j": "--max-energy",
    "peak_power_w": "--max-power",
    "size_bytes": "--max-size",
}
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"))
UNKNOWN = "-"
FORETOLD, MARK = "foretold", "~"  # before a figure that a surrogate foretold: nothing was asked
FORETOLD_NOTE = f"{MARK} foretold by a surrogate of what was measured on the same place"


def figure(name: str, value: float | None) -> str:
    """ "12.3 ms"; a score in per cent."""
    if value is None:
        return UNKNOWN
    if name == "score":
        return f"{100 * value:.1f} %"
    factor, prefix = next(one for one in PREFIXES if value >= one[0] or one == PREFIXES[-1])
    return f"{_three(value / factor)} {prefix}{UNITS[name]}"


def marked(name: str, value: float | None, sources: Mapping[str, str]) -> str:
    """As `figure`, with the mark of what was foretold."""
    return f"{MARK if sources.get(name) == FORETOLD else ''}{figure(name, value)}"


def as_option(name: str, value: float, up: bool = True) -> str:
    """As a limit is given: "--max-latency 12.4ms", rounded so that the value keeps it."""
    factor, prefix = next(one for one in PREFIXES if value >= one[0] or one == PREFIXES[-1])
    digits = 2 - math.floor(math.log10(value / factor))
    step = 10.0**-digits
    rounded = math.ceil(value / factor / step) * step if up else value / factor
    return f"{OPTIONS[name]} {rounded:.{max(0, digits)}f}{prefix}{UNITS[name]}"


def change(name: str, value: float | None, reference: float | None) -> str:
    """Against the reference: points of a score, else how many times less."""
    if value is None or reference is None:
        return UNKNOWN
    if name == "score":
        return f"{100 * (value - reference):+.1f} points"
    ratio = reference / value
    if f"{ratio:.3g}" == "1":
        return "the same"
    return f"{ratio:.3g}x less" if ratio >= 1 else f"{1 / ratio:.3g}x more"


def line_of(outcome: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> str:
    """All figures that are known, in a line."""
    found = [
        f"{TITLES[name].split()[0]} {marked(name, outcome[name], sources or {})}" for name in TITLES
    ]
    return "  ".join(one for one in found if not one.endswith(UNKNOWN))


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"
