"""Costs that need no board any more, since enough like them were measured there.

A surrogate of each place is fitted on the ledger's own measurements of it: the first 16 paid
for, then the first 24, then the last 28 of the first 36, 54 and so on, so that what it says
follows from the ledger alone and from where the search is by then. It speaks only where it is
confident: its 90 % interval, from errors out of fold, is narrow, and no limit lies within. A
search moves to where fewer designs were measured, so finalists are measured whatever it says.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgetran_host.cosearch.goal import Limits
from edgetran_host.ledger import Ledger
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.parameters import count_parameters
from edgetran_host.surrogates.rows import MEASURES, rows_of
from edgetran_host.surrogates.surrogate import SURE_ROWS, Surrogate, fit_surrogate

USUAL_WIDTH = 0.05  # of the interval's half, as a share of the value
GROWTH = 1.5  # of the rows between two fits
ROUNDING = 1e-9
MOST_ROWS = 28  # a fit takes half a second; with more it looks for effects of whole campaigns

Cost = dict[str, Any]


class Foreteller:
    def __init__(self, ledger: Ledger, kind: str, width: float = USUAL_WIDTH) -> None:
        """kind: of the ledger's measurements. width 0: it never speaks."""
        self._ledger, self._kind, self._width = ledger, kind, width
        self._lock = threading.Lock()
        self._fitted: dict[str, tuple[int, Surrogate, np.ndarray]] = {}

    def cost(
        self, key: Mapping[str, Any], place: str, design: Architecture, limits: Limits
    ) -> Cost | None:
        """Of the design that `key` names; None: measure it."""
        if self._width <= 0:
            return None
        with self._lock:
            fitted = self._surrogate(key, place)
        if fitted is None:
            return None
        count, surrogate, sizes = fitted
        wanted = [name for name in MEASURES if name in surrogate.measures]
        if any(not self._sure(surrogate, name) for name in wanted):
            return None
        row = {"architecture": design.to_dict(), **dict.fromkeys(MEASURES, 1.0)}
        found: Cost = {"rows": count, "size_bytes": float(_size_terms([design])[0] @ sizes)}
        for name, one in surrogate.predict(rows_of([(place, [row])])).items():
            found[name] = float(one.value[0])
            found[f"{name}_interval"] = [float(one.low[0]), float(one.high[0])]
        for name in set(MEASURES) - set(wanted):
            found |= {name: None, f"{name}_interval": None}
        return None if undecided(found, limits) else found

    def _sure(self, surrogate: Surrogate, name: str) -> bool:
        measure = surrogate.measures[name]
        narrow = math.expm1(measure.half_width) <= self._width
        return narrow and measure.confidence.level == "high"

    def _surrogate(
        self, key: Mapping[str, Any], place: str
    ) -> tuple[int, Surrogate, np.ndarray] | None:
        rows = self._rows(key)
        count = _fits(len(rows))
        if count is None:
            return None
        known = self._fitted.get(place)
        if known is None or known[0] != count:
            used = rows[:count][-MOST_ROWS:]
            terms = _size_terms([Architecture.from_dict(row["architecture"]) for row in used])
            bytes_ = np.array([row.pop("size_bytes") for row in used])
            sizes = np.linalg.lstsq(terms, bytes_, rcond=None)[0]
            known = self._fitted[place] = count, fit_surrogate(rows_of([(place, used)])), sizes
        return known

    def _rows(self, key: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What was measured on the same place of the same kind of design, oldest first."""
        alike = {name: value for name, value in key.items() if name != "architecture"}
        return [
            {
                "architecture": cost["design"],
                "size_bytes": cost["size_bytes"],
                **{name: cost[name] for name in MEASURES},
            }
            for known, cost in self._ledger.all(self._kind)
            if {name: value for name, value in known.items() if name != "architecture"} == alike
        ]


def _fits(rows: int) -> int | None:
    """How many rows of so many are used."""
    if rows < SURE_ROWS:
        return None
    count = float(SURE_ROWS)
    while count * GROWTH <= rows:
        count *= GROWTH
    return int(count)


def _size_terms(designs: Sequence[Architecture]) -> np.ndarray:
    """(n, 3) what the bytes of a graph add up from: something, its layers, their weights."""
    counts = [count_parameters(one, vocab_size=0, positions=0, pooler=False) for one in designs]
    return np.array(
        [
            [1.0, len(one.layers), count.attention + count.feed_forward]
            for one, count in zip(designs, counts)
        ]
    )


def undecided(cost: Cost, limits: Limits) -> bool:
    """Whether a limit lies within an interval."""
    for name in MEASURES:
        limit, interval = getattr(limits, name), cost[f"{name}_interval"]
        if limit is not None and interval is not None and interval[0] <= limit <= interval[1]:
            return True
    return False


def wide(cost: Cost, width: float) -> bool:
    """Whether an interval's half is a larger share of its value than that; any is than 0."""
    intervals = {name: cost[f"{name}_interval"] for name in MEASURES}
    known = [interval[1] / cost[name] - 1 for name, interval in intervals.items() if interval]
    return width <= 0 or any(share > width * (1 + ROUNDING) for share in known)
