"""Quantities as people write them (40ms, 300mJ, 20MB, 5W) to SI and back."""

from __future__ import annotations

import math
import re

from edgetran_protos.errors import UsageError

FACTORS = {
    "latency": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0},
    "energy": {"uj": 1e-6, "µj": 1e-6, "mj": 1e-3, "j": 1.0},
    "size": {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30},
    "power": {"mw": 1e-3, "w": 1.0},
    "time": {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
}
GREEK_MU = "\u03bc"  # looks like the micro sign
EXAMPLES = {"latency": "40ms", "energy": "300mJ", "size": "20MB", "power": "5W", "time": "30min"}


def parse(kind: str, text: str) -> float:
    """The SI value of e.g. ("latency", "40ms"). Raises UsageError."""
    spelt = text.lower().replace(GREEK_MU, "µ")
    match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*([a-zµ]+)\s*", spelt)
    factor = FACTORS[kind].get(match.group(2)) if match else None
    if match is None or factor is None:
        units = ", ".join(FACTORS[kind])
        raise UsageError(
            f"{text!r} is not a {kind}", hint=f"write it like {EXAMPLES[kind]} (units: {units})"
        )
    try:
        value = float(match.group(1)) * factor
    except ValueError as exc:
        raise UsageError(f"{text!r} is not a {kind}", hint=f"like {EXAMPLES[kind]}") from exc
    if math.isinf(value):
        raise UsageError(f"{text!r} is too large", hint=f"like {EXAMPLES[kind]}")
    if value <= 0:
        raise UsageError(f"{text!r} is not above zero", hint=f"like {EXAMPLES[kind]}")
    return value
