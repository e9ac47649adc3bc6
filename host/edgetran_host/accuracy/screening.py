"""Whether a design is worth a whole training, asked of a predictor that knows, or not asked.

How a search uses it, in the loop of `cosearch.promoting`:

    predictor = predictor_of(features, seen)            # seconds; after some more trainings
    requests = worthwhile(promotions(seen, draws, most=workers), seen, goal, predictor)

While the predictor's gate does not pass, every request stays, so a search whose predictor has
no skill trains as if there were none. A request that goes is one whose score, even at the
upper end of its 90 % interval, leaves the goal below what a whole training gave already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.accuracy.gate import LEAST_DESIGNS
from edgetran_host.accuracy.predictor import AccuracyPredictor
from edgetran_host.accuracy.scored import scored_designs, shared_fidelities
from edgetran_host.cosearch.evaluator import Request
from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.cosearch.fidelities import FULL, Seen
from edgetran_host.cosearch.goal import Goal


@dataclass(frozen=True)
class Screening:
    """`foretold` is (low, value, high) of the score; None: nobody knows."""

    train: bool
    reason: str
    foretold: tuple[float, float, float] | None = None


def predictor_of(features: ArchitectureFeatures, seen: Sequence[Seen]) -> AccuracyPredictor:
    """Of all whole trainings; its input the cheap fidelity, or none, that errs least."""
    designs = scored_designs(seen)
    alone = AccuracyPredictor(features, designs)
    if len(designs) < LEAST_DESIGNS:
        return alone
    others = [AccuracyPredictor(features, designs, name) for name in shared_fidelities(designs)]
    return min([alone, *others], key=lambda one: one.gate.error)


def worthwhile(
    requests: Sequence[Request], seen: Sequence[Seen], goal: Goal, predictor: AccuracyPredictor
) -> list[Request]:
    return [
        request
        for request in requests
        if request.fidelity != FULL or screen(request, seen, goal, predictor).train
    ]


def screen(
    request: Request, seen: Sequence[Seen], goal: Goal, predictor: AccuracyPredictor
) -> Screening:
    """Of a pair that was seen, so that its costs are known. Raises DataError where it was not."""
    pair = request.pair
    costs = next((one for one in reversed(seen) if one.request.pair == pair), None)
    if costs is None:
        raise DataError(f"{pair.id} was not seen yet", hint="evaluate it at a cheap fidelity first")
    if not predictor.gate.passes:
        return Screening(True, f"no prediction of scores: {predictor.gate.describe()}")
    given = None
    if predictor.cheap is not None:
        scores = [
            one.score
            for one in seen
            if one.design == pair.architecture
            and one.request.fidelity == predictor.cheap
            and one.score is not None
        ]
        if not scores:
            return Screening(True, f"no score at {predictor.cheap!r} to foretell from")
        given = np.array([np.mean(scores)])
    found = predictor.predict([pair.architecture], given)
    low, value, high = (float(part[0]) for part in (found.low, found.value, found.high))
    best = _best(seen, goal)
    hope = goal.value(pair.place, replace(costs.evaluation.outcome, score=high))
    said = f"foretold score {value:.3f} ({low:.3f} to {high:.3f})"
    if best is None or hope > best:
        return Screening(True, f"{said}: may be the best", (low, value, high))
    return Screening(False, f"{said}: J of at most {hope:.3f}, best {best:.3f}", (low, value, high))


def _best(seen: Sequence[Seen], goal: Goal) -> float | None:
    """J of the best whole training that keeps the limits."""
    values = [
        goal.value(one.request.pair.place, one.evaluation.outcome)
        for one in seen
        if one.request.fidelity == FULL and one.score is not None
        if goal.keeps(one.evaluation.outcome)
    ]
    return max(values, default=None)
