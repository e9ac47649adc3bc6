"""What a bundle's card promises of a variant on this board, and when that is broken.

A promised p99 of t seconds says: at most one answer in a hundred takes longer. Seen are
k of n answers slower than PATIENCE * t. Were the promise kept, k would be binomial (n, 1/100)
at most; it counts as broken when so large a k is less likely than UNLIKELY.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Optional

from edgetran_protos.bundle import BundleCard, Variant

METRIC = "latency_p99_s"
SHARE = 0.01
PATIENCE = 2.0  # a board has other work now and then
UNLIKELY = 1e-3


def promised_p99_s(card: BundleCard, variant: Variant, place: str) -> Optional[float]:
    """place: "jetson-nano:gpu"; None: nothing that was measured on such a board."""
    for claim in card.claims:
        about = (claim.metric, claim.board, claim.variant)
        if claim.measured and about == (METRIC, place, variant.name):
            return max(claim.value, claim.high or 0.0)
    return None


def broken(times_s: Sequence[float], p99_s: Optional[float]) -> str:
    """Why the times break the promise; empty when they do not, or nothing is promised."""
    if p99_s is None:
        return ""
    limit_s = PATIENCE * p99_s
    slow = sum(time_s > limit_s for time_s in times_s)
    if at_least(slow, len(times_s), SHARE) >= UNLIKELY:
        return ""
    return (
        f"{slow} of {len(times_s)} answers took longer than {limit_s * 1e3:.3g} ms; "
        f"promised is a p99 of {p99_s * 1e3:.3g} ms"
    )


def too_many(failed: int, count: int) -> bool:
    """Whether more than one request in a hundred fails, by the same reasoning."""
    return at_least(failed, count, SHARE) < UNLIKELY


def at_least(seen: int, count: int, share: float) -> float:
    """P(X >= seen) of a binomial X (count, share)."""
    return 1.0 - sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(seen))
