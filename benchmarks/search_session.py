"""One method's budget on one task: what it may ask, what was answered, and what that cost.

A method is `method(session) -> None`. While `session.left` it asks `session.value(pair)`, what
one noisy measurement comes to, or, where a whole front is sought, `session.objectives(pair)`. A
budget is a number of evaluations, or of full trainings, of which a design that inherits from
those trained before it pays a part (`cosearch/inheriting.py`); then all methods pay alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from edgetran_host.cosearch.front import objectives
from edgetran_host.cosearch.goal import Goal, costs
from edgetran_host.cosearch.inheriting import training_costs
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.outcome import Outcome, Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace

BROKEN = -10.0  # of a pair that breaks a limit: below all that keep it, the less broken the better


@dataclass
class Session:
    oracle: Oracle
    space: ProductSpace
    goal: Goal
    budget: float  # evaluations; full trainings where they are counted
    seed: int
    front: bool = False  # all trade-offs are sought, not the best value of the goal
    most: int | None = None  # evaluations, where trainings are counted; None: they are not
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 1])  # the method's own
        self._noise = np.random.default_rng([self.seed, 2])
        self._spent = 0.0

    @property
    def left(self) -> float:
        """Of the budget; a training that begins is finished."""
        if self.most is not None and len(self.trials) >= self.most:
            return 0.0
        return max(0.0, self.budget - self._spent)

    def outcome(self, pair: Pair) -> Outcome:
        if not self.left:
            raise ValueError("the budget is spent")
        (outcome,) = self.oracle.measure([pair], self._noise)
        cost = 1.0 if self.most is None else float(training_costs([pair], self.trials)[0])
        self.trials.append(Trial(pair, outcome, cost))
        self._spent += cost
        return outcome

    def value(self, pair: Pair) -> float:
        return valued(self.goal, pair, self.outcome(pair))

    def objectives(self, pair: Pair) -> np.ndarray:
        """(4,) to be minimised."""
        return objectives(self.outcome(pair))

    def draw(self, tied: bool) -> Pair:
        return self.space.sample(self.rng, 1, tied)[0]


Method = Callable[[Session], None]


def valued(goal: Goal, pair: Pair, outcome: Outcome) -> float:
    """For methods that know no limits (Deb's rule): every pair that keeps them comes first."""
    excess = np.maximum(0, goal.excess(costs([outcome]))).sum()
    return BROKEN - float(excess) if excess > 0 else goal.value(pair.place, outcome)
