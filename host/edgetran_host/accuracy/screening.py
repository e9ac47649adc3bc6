"""Whether a pair is worth a training, asked of a predictor once its costs are known.

How a search uses it: fit an `AccuracyPredictor` on `scored_designs` of the evaluations so far
whenever some more trainings are finished (seconds); score a new pair at the cheap fidelity
(no training); then ask `screen`. While the gate does not pass, the answer is always to train,
with the gate's figures as the reason, so a search without a skilled predictor trains as if
there were none. With `Boshcode`, pass over a pair that is not worth it by telling a trial
whose score is the foretold value and whose `training_cost` is that of the cheap fidelity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgetran_host.accuracy.predictor import AccuracyPredictor
from edgetran_host.cosearch.goal import Goal
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair


@dataclass(frozen=True)
class Screening:
    """`foretold` is (low, value, high) of the score; None: nobody knows."""

    train: bool
    reason: str
    foretold: tuple[float, float, float] | None = None


def screen(
    predictor: AccuracyPredictor,
    goal: Goal,
    pair: Pair,
    outcome: Outcome,
    best: float,
    cheap: Mapping[str, float] | None = None,
) -> Screening:
    """`outcome` has the costs; its score does not matter. `best` is J of the best trial.

    cheap: the pair's scores by fidelity. Not worth it is what even at the interval's upper
    end stays below `best`.
    """
    if not predictor.gate.passes:
        return Screening(True, f"no prediction of scores: {predictor.gate.describe()}")
    given = None
    if predictor.cheap is not None:
        if predictor.cheap not in (cheap or {}):
            return Screening(True, f"no score at {predictor.cheap!r} to foretell from")
        given = np.array([(cheap or {})[predictor.cheap]])
    found = predictor.predict([pair.architecture], given)
    low, value, high = (float(part[0]) for part in (found.low, found.value, found.high))
    hope = goal.value(pair.place, replace(outcome, score=high))
    said = f"foretold score {value:.3f} ({low:.3f} to {high:.3f})"
    if hope > best:
        return Screening(True, f"{said}: may beat the best", (low, value, high))
    return Screening(False, f"{said}: J of at most {hope:.3f}, best {best:.3f}", (low, value, high))
