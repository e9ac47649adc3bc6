"""The published objective: one number of a score and three costs, scaled for the slowest board.

    performance = 0.5 score + 0.2 (1 - latency / 1000 s) + 0.2 (1 - energy / 2000 J)
                  + 0.1 (1 - peak power / 300 W)

On a fast board the costs hardly count, and it knows no limits: `goal.Goal` has neither fault.
Source: the method's specification, section 7.3.
"""

from __future__ import annotations

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.outcome import Trial

WEIGHT_SCORE, WEIGHT_LATENCY, WEIGHT_ENERGY, WEIGHT_PEAK = 0.5, 0.2, 0.2, 0.1
MOST_LATENCY_S, MOST_ENERGY_J, MOST_PEAK_W = 1000.0, 2000.0, 300.0


def performance(trial: Trial) -> float:
    """At most 1, higher is better. Raises UsageError where a figure is missing."""
    found = trial.outcome
    if found.score is None or found.energy_j is None or found.peak_power_w is None:
        raise UsageError(
            f"the published objective needs score, energy and peak power of {trial.pair.place.id}",
            hint="leave that board out, or search with another method than legacy",
        )
    return (
        WEIGHT_SCORE * found.score
        + WEIGHT_LATENCY * (1 - found.latency_s / MOST_LATENCY_S)
        + WEIGHT_ENERGY * (1 - found.energy_j / MOST_ENERGY_J)
        + WEIGHT_PEAK * (1 - found.peak_power_w / MOST_PEAK_W)
    )
