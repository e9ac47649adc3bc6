"""What a board delivers beside what the bundle promises of it.

A figure breaks a promise when even the low end of its interval lies above the high end of the
promised one by more than the slack: a measurement that is not sure breaks nothing. Figures
that are measured are held to measured claims, modelled ones to modelled claims.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgetran.results import Measurement, Quantity
from edgetran_protos.bundle import BundleCard, Claim

FIGURES = ("latency_p50_s", "latency_p95_s", "latency_p99_s", "energy_j", "peak_power_w")
SCORES = ("accuracy", "agreement")
UNLIKELY = 1e-3  # so few right answers, were the promised accuracy true
INVALID = "invalid"  # a verdict


@dataclass(frozen=True)
class Answered:
    """How a board's model answered texts whose answers are known."""

    rows: int
    right: int

    @property
    def share(self) -> float:
        return self.right / self.rows


@dataclass(frozen=True)
class Delivered:
    figures: Mapping[str, Quantity] = field(default_factory=dict)
    modelled: bool = False
    verdict: str = ""  # of the measurement; empty: nothing was measured
    reasons: tuple[str, ...] = ()  # why it is not "valid"
    agreement: Answered | None = None  # with the golden rows
    accuracy: Answered | None = None  # of the canary rows

    @staticmethod
    def of(
        record: Measurement | None, agreement: Answered | None, accuracy: Answered | None
    ) -> Delivered:
        """record None: nothing was measured."""
        if record is None:
            return Delivered(agreement=agreement, accuracy=accuracy)
        found = {name: getattr(record, name) for name in FIGURES}
        known = {name: value for name, value in found.items() if value is not None}
        return Delivered(
            known, record.modelled, record.verdict, record.reasons, agreement, accuracy
        )

    def value(self, figure: str) -> float | None:
        """None: not known. Of an invalid measurement it is what was seen, and no more."""
        if figure in SCORES:
            answered: Answered | None = getattr(self, figure)
            return answered.share if answered else None
        quantity = self.figures.get(figure)
        return None if quantity is None else quantity.value

    @property
    def unsure(self) -> str:
        """Why its times say nothing of what is promised; empty: they do."""
        return f"times not judged: {', '.join(self.reasons)}" if self.verdict == INVALID else ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Delivered:
        if not raw:
            return Delivered()
        answers = {key: Answered(**raw[key]) if raw[key] else None for key in SCORES}
        figures = {name: Quantity(**one) for name, one in raw["figures"].items()}
        return Delivered(figures, raw["modelled"], raw["verdict"], tuple(raw["reasons"]), **answers)


def promise(
    card: BundleCard, metric: str, place: str, variant: str, *, modelled: bool | None = None
) -> Claim | None:
    """modelled None: whatever is promised. A score is the model's own, on any board."""
    for claim in card.claims:
        if claim.metric != metric or claim.variant != variant:
            continue
        if metric == "accuracy" and not claim.board:
            return claim
        if claim.board == place and modelled in (None, not claim.measured):
            return claim
    return None


def broken_promises(
    card: BundleCard, place: str, variant: str, found: Delivered, slack: float
) -> list[str]:
    """What the bundle promises and the board does not keep, for a person."""
    broken = []
    for name, quantity in found.figures.items():
        claim = promise(card, name, place, variant, modelled=found.modelled)
        if claim is None or found.verdict == INVALID:
            continue
        most = max(claim.value, claim.high or 0.0) * (1 + slack)
        least = quantity.value if quantity.low is None else quantity.low
        if least > most:
            broken.append(f"{shown(name, quantity.value)}, promised {shown(name, claim.value)}")
    if found.agreement and found.agreement.right < found.agreement.rows:
        wrong = found.agreement.rows - found.agreement.right
        broken.append(f"{wrong} of {found.agreement.rows} golden rows have another answer")
    claim = promise(card, "accuracy", place, variant)
    if claim and found.accuracy:
        least = claim.value if claim.low is None else claim.low
        if at_most(found.accuracy.right, found.accuracy.rows, least) < UNLIKELY:
            broken.append(
                f"accuracy {found.accuracy.share:.1%} of {found.accuracy.rows} canary rows, "
                f"promised {claim.value:.1%}"
            )
    return broken


def at_most(seen: int, count: int, share: float) -> float:
    """P(X <= seen) of a binomial X (count, share)."""
    if not 0 < share < 1:
        return 1.0 if seen >= count * share else 0.0
    total = 0.0
    for k in range(seen + 1):
        ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        total += math.exp(ways + k * math.log(share) + (count - k) * math.log1p(-share))
    return min(1.0, total)


def shown(name: str, value: float) -> str:
    """A figure with its name and unit."""
    short = {"energy_j": "energy", "peak_power_w": "power"}.get(name, name[8:11])
    if name in SCORES:
        return f"{name} {value:.1%}"
    scale, unit = {"energy_j": (1e3, "mJ"), "peak_power_w": (1.0, "W")}.get(name, (1e3, "ms"))
    return f"{short} {value * scale:.3g} {unit}"
