"""What a search came to by each number of evaluations, as a share of what is known to be possible.

T1, T1c, T2: the exact value of what looked best, from the median random design (0) to the best
pair known (1). It looked best by its measurements: by one, or, where finalists are measured
again, by the mean of all theirs, and these evaluations are part of the number. A pair that a
measurement puts beyond a limit does not count; while there is no other the share is 0.
T3: the hypervolume of what the measurements say no other beats, over that of all exact points
of all methods together.
"""

from __future__ import annotations

import numpy as np
from edgetran_host.cosearch.front import front, hypervolume
from search_cells import REPEATS, Trace
from search_tasks import Task

FINALISTS = 3


def looked_best(task: Task, trace: Trace) -> np.ndarray:
    """(n,) exact values of the trial that looked best by then; -inf: none kept the limits."""
    seen, exact = _values(task, trace, trace.measured), _exact(task, trace)
    best = [int(np.argmax(seen[: at + 1])) for at in range(len(seen))]
    return np.where(np.isfinite(seen[best]), exact[best], -np.inf)


def looked_best_again(task: Task, trace: Trace) -> np.ndarray:
    """(n,) as above, where the last evaluations measure the finalists again."""
    seen, exact = _values(task, trace, trace.measured), _exact(task, trace)
    repeats = [_values(task, trace, trace.repeats[:, at]) for at in range(REPEATS)]
    mean = np.mean([seen, *repeats], axis=0)
    found = looked_best(task, trace)
    for at in range(FINALISTS * REPEATS, len(seen)):
        first = seen[: at + 1 - FINALISTS * REPEATS]
        finalists = np.argsort(-first)[:FINALISTS]
        best = finalists[mean[finalists].argmax()]
        found[at] = exact[best] if np.isfinite(seen[best]) else -np.inf
    return found


def by_cost(values: np.ndarray, costs: np.ndarray, budget: float, step: float) -> np.ndarray:
    """values and costs (n,) of trials -> what is known after each `step` that was spent."""
    spent = np.cumsum(costs)
    marks = np.arange(step, min(budget, spent[-1]) + step / 2, step)
    at = np.searchsorted(spent, marks + 1e-9, side="right") - 1
    return np.where(at < 0, -np.inf, values[np.maximum(at, 0)])


def shares(values: np.ndarray, median: float, best: float) -> np.ndarray:
    found: np.ndarray = np.maximum((values - median) / (best - median), -1.0)
    return np.where(np.isfinite(values), found, 0.0)


def volumes(trace: Trace, worst: np.ndarray, at: tuple[int, ...]) -> dict[int, float]:
    """By numbers of evaluations; only exact values of what the measurements chose count."""
    seen, exact = points(trace.measured), points(trace.exact)
    return {
        count: hypervolume(exact[:count][front(seen[:count])], worst)
        for count in at
        if count <= len(seen)
    }


def points(rows: np.ndarray) -> np.ndarray:
    """(n, 5) outcomes -> (n, 4) objectives, as `front.objectives`."""
    return np.column_stack([1 - rows[:, 0], np.log(rows[:, 1:4])])


def needed(found: np.ndarray, goal: float) -> np.ndarray:
    """found (seeds, n) -> (seeds,) evaluations to a share, inf: never."""
    reached = found >= goal
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


def upper_median(values: np.ndarray) -> float:
    """Of two in the middle the larger one, so that inf needs no mean."""
    return float(np.sort(values)[len(values) // 2])


def _exact(task: Task, trace: Trace) -> np.ndarray:
    """Without regard to limits, which the measurements judge."""
    return _goal(task, trace, trace.exact)


def _values(task: Task, trace: Trace, rows: np.ndarray) -> np.ndarray:
    keeps = (task.goal.excess(rows[:, 1:]) <= 0).all(axis=1)
    return np.where(keeps, _goal(task, trace, rows), -np.inf)


def _goal(task: Task, trace: Trace, rows: np.ndarray) -> np.ndarray:
    places = [task.space.places[at] for at in trace.places]
    return task.goal.values(places, rows[:, 0], rows[:, 1:])
