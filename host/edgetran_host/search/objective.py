"""What the search maximises, and the limits it must not break.

J = (score - score_seed) / 0.01 - p * sum over m of w_m * ln(m / m_seed)

score is the task's metric on rows held out of training, m runs over latency,
energy and bytes on the board (energy only where the board gives one). One point
of score weighs as much as a factor e^(1 / (p * w)) in a cost, where p is what the user
prefers. A design that breaks a limit has a positive entry in `excess` and can never be chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgetran_protos.errors import BudgetError, UsageError

from edgetran_host.job.config import Budget

SCORE_POINT = 0.01
WEIGHT_LATENCY = 1.5
WEIGHT_ENERGY = 0.25
WEIGHT_BYTES = 0.75
WEIGHTS = WEIGHT_LATENCY + WEIGHT_ENERGY + WEIGHT_BYTES
ACCURACY, BALANCE = "accuracy", "balance"
PREFERENCES = {ACCURACY: 0.2, BALANCE: 1.0, "speed": 3.0}  # p
# Without a latency or size limit of the user's, a design must be worth the
# trouble of searching: this much faster and smaller than the fp32 seed.
DEFAULT_SPEED_UP = 2.0
DEFAULT_SHRINKAGE = 6.0
ROOM = 1.25  # above the smallest design, at least


@dataclass(frozen=True)
class Cost:
    """What one design costs on the target board."""

    latency_s: float
    energy_j: float | None  # None: the board has no sensor and no model for it
    peak_power_w: float | None
    size_bytes: float
    modelled: bool


def needs_defaults(budget: Budget) -> bool:
    return not (budget.max_latency_s and budget.max_size_bytes)


def with_defaults(budget: Budget, seed: Cost, smallest: Cost) -> Budget:
    """The user's limits; a limit on latency and bytes is added where none was given.

    An added limit leaves room above the smallest design, so that a seed with little to
    give is still searched: only the user's own limits can be impossible.

    Raises BudgetError for a limit on what the board does not give.
    """
    for name, limit, found in (
        ("energy", budget.max_energy_j, seed.energy_j),
        ("peak power", budget.max_power_w, seed.peak_power_w),
    ):
        if limit and found is None:
            raise BudgetError(
                f"the board gives no {name}, so a limit on it cannot be kept",
                hint="leave that limit out, or choose a board with a power sensor",
            )
    return Budget(
        max_latency_s=budget.max_latency_s
        or max(seed.latency_s / DEFAULT_SPEED_UP, ROOM * smallest.latency_s),
        max_energy_j=budget.max_energy_j,
        max_size_bytes=budget.max_size_bytes
        or max(seed.size_bytes / DEFAULT_SHRINKAGE, ROOM * smallest.size_bytes),
        max_power_w=budget.max_power_w,
    )


def excess(cost: Cost, budget: Budget) -> tuple[float, float, float, float]:
    """ln(cost / limit) a limit, in a fixed order; positive where the limit is broken."""
    pairs = (
        (cost.latency_s, budget.max_latency_s),
        (cost.energy_j, budget.max_energy_j),
        (cost.size_bytes, budget.max_size_bytes),
        (cost.peak_power_w, budget.max_power_w),
    )
    return tuple(  # type: ignore[return-value]
        math.log(value / limit) if limit and value else 0.0 for value, limit in pairs
    )


def within(cost: Cost, budget: Budget) -> bool:
    return all(part <= 0 for part in excess(cost, budget))


def describe_excess(cost: Cost, budget: Budget) -> str:
    """The limits that are broken, in words: "latency 51.2 ms, at most 40.0 ms"."""
    pairs = (
        ("latency", cost.latency_s, budget.max_latency_s, 1e3, "ms"),
        ("energy", cost.energy_j, budget.max_energy_j, 1e3, "mJ"),
        ("size", cost.size_bytes, budget.max_size_bytes, 1e-6, "MB"),
        ("peak power", cost.peak_power_w, budget.max_power_w, 1.0, "W"),
    )
    return ", ".join(
        f"{name} {value * factor:.3g} {unit}, at most {limit * factor:.3g} {unit}"
        for name, value, limit, factor, unit in pairs
        if value and limit and value > limit
    )


def objective(
    score: float, seed_score: float, cost: Cost, seed: Cost, prefer: str = BALANCE
) -> float:
    """J of the module docstring; higher is better, the seed itself has 0."""
    return (score - seed_score) / SCORE_POINT - cost_weight(prefer) * weighed(cost, seed)


def cost_weight(prefer: str) -> float:
    """p. Raises UsageError for what is none of PREFERENCES."""
    if prefer not in PREFERENCES:
        raise UsageError(
            f"{prefer!r} is nothing to prefer", hint=f"choose {', '.join(PREFERENCES)}"
        )
    return PREFERENCES[prefer]


def weighed(cost: Cost, seed: Cost) -> float:
    """What J takes off for the cost in balance; below zero where it is less than the seed's."""
    found = WEIGHT_LATENCY * math.log(cost.latency_s / seed.latency_s)
    found += WEIGHT_BYTES * math.log(cost.size_bytes / seed.size_bytes)
    if cost.energy_j and seed.energy_j:
        found += WEIGHT_ENERGY * math.log(cost.energy_j / seed.energy_j)
    return found
