"""Which campaign rows belong to, so that its drift is applied to them and to no others.

A row's `order` is its place in a campaign. Rows belong to a campaign whose places they do not
contradict: no place holds two designs. Held-out rows of a campaign fall into its gaps, rows of
another fall onto its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.surrogates.rows import Rows

GAP = 1e5  # places between two campaigns on the common axis: no drift reaches so far
ID_DIGITS = 8  # of a design's identity; enough to tell two apart


@dataclass(frozen=True)
class Campaign:
    name: str
    places: Mapping[int, str]  # order -> first digits of the design there

    def holds(self, orders: np.ndarray, ids: Sequence[str]) -> bool:
        """Whether rows at `orders` (n,) can be of this campaign."""
        return all(
            self.places.get(int(order), identity[:ID_DIGITS]) == identity[:ID_DIGITS]
            for order, identity in zip(orders, ids)
            if np.isfinite(order)
        )


def campaigns_of(rows: Rows) -> tuple[Campaign, ...]:
    """In order of appearance."""
    places: dict[str, dict[int, str]] = {name: {} for name in rows.campaigns}
    for name, order, identity in zip(rows.campaigns, rows.orders, rows.ids):
        if np.isfinite(order):
            places[name][int(order)] = identity[:ID_DIGITS]
    return tuple(Campaign(name, found) for name, found in places.items())


def times(rows: Rows, campaigns: Sequence[Campaign]) -> np.ndarray:
    """(n,) places on one axis, a campaign behind another; NaN: of no campaign that is known."""
    found = np.full(len(rows), np.nan)
    for name in dict.fromkeys(rows.campaigns):
        mine = np.flatnonzero([one == name for one in rows.campaigns])
        at = _which(name, rows.orders[mine], [rows.ids[row] for row in mine], campaigns)
        if at is not None:
            found[mine] = rows.orders[mine] + GAP * at
    return found


def _which(
    name: str, orders: np.ndarray, ids: Sequence[str], campaigns: Sequence[Campaign]
) -> int | None:
    """None where none fits, or several do and none of them has the rows' name."""
    fitting = [at for at, one in enumerate(campaigns) if one.holds(orders, ids)]
    named = [at for at in fitting if campaigns[at].name == name]
    if named:
        return named[0]
    return fitting[0] if len(fitting) == 1 else None
