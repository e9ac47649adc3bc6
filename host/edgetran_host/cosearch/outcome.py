"""What an evaluated pair gave, how noisy that is, and what it cost to learn."""

from __future__ import annotations

from dataclasses import dataclass

from edgetran_host.cosearch.pair import Pair


@dataclass(frozen=True)
class Outcome:
    score: float | None  # of the task, 0 to 1, higher is better; None: not trained
    latency_s: float
    energy_j: float | None  # None: the place has neither sensor nor model for it
    peak_power_w: float | None
    size_bytes: float


@dataclass(frozen=True)
class Noise:
    """One standard deviation of a repeated evaluation."""

    score: float  # absolute
    latency: float  # the others relative to the value
    energy: float
    peak: float


@dataclass(frozen=True)
class Trial:
    pair: Pair
    outcome: Outcome  # as measured, noise and all
    training_cost: float = 1.0  # in full trainings; less where weights were inherited
