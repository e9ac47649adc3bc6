"""Why a search found nothing that keeps its limits, and what would be needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.goal import COSTS, costs
from edgetran_host.cosearch.history import Entry
from edgetran_host.cosearch.standing import outcome_of


@dataclass(frozen=True)
class Block:
    """One limit, in SI."""

    cost: str  # one of COSTS
    limit: float
    broken: int  # trials that broke it
    nearest: float  # the least cost of any trial
    enough: float | None  # the limit that would do, the others as they are; None: none would


@dataclass(frozen=True)
class Blocked:
    """`nearest` breaks its worst limit by the smallest factor."""

    trials: int
    blocks: tuple[Block, ...]
    nearest: Entry
    needed: dict[str, float]  # limits that would make it feasible, of those that it breaks


def blocked(brief: Brief, entries: Sequence[Entry]) -> Blocked | None:
    """None: no trial gave costs, or one keeps all limits."""
    known = [one for one in entries if one.evaluation is not None]
    if not known:
        return None
    values = costs([outcome_of(one) for one in known])
    excess = brief.goal.excess(values)  # (n, 4)
    if (excess <= 0).all(axis=1).any():
        return None
    nearest = int(np.argmin(excess.max(axis=1)))
    limited = [at for at, name in enumerate(COSTS) if getattr(brief.goal.limits, name) is not None]
    return Blocked(
        trials=len(known),
        blocks=tuple(_block(brief, at, values, excess) for at in limited),
        nearest=known[nearest],
        needed={COSTS[at]: values[nearest, at] for at in limited if excess[nearest, at] > 0},
    )


def _block(brief: Brief, at: int, values: np.ndarray, excess: np.ndarray) -> Block:
    others = np.delete(excess, at, axis=1)
    alone = (others <= 0).all(axis=1)
    return Block(
        cost=COSTS[at],
        limit=getattr(brief.goal.limits, COSTS[at]),
        broken=int((excess[:, at] > 0).sum()),
        nearest=float(np.nanmin(values[:, at])),
        enough=float(values[alone, at].min()) if alone.any() else None,
    )
