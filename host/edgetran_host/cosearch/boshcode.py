"""BOSHCODE: Bayesian optimisation over transformers and boards at once.

It starts with one block repeated, boards in turn. Then each output has a model, and a query,
for a while one block repeated, too, is the pair of highest expected improvement of the goal;
every fourth one of its upper quantile. With probability alpha it is the pair the models know
least about, with probability beta a random one. The gradient's slot (`gradient_query`) takes
part while it wins.

Where trainings have a price (`pricing`), it starts with a few relatives (`lineage`); later
designs, explorations too, are priced by what they inherit, and the best ones are looked at
on all boards, where they cost no training.
Source: the method's specification, sections 7.2 and 7.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # of scikit-learn

from edgetran_host.cosearch.acquisition import (
    Acquisition,
    FrontGrowth,
    Improvement,
    Quantile,
    Uncertainty,
    normal_samples,
)
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.front import objectives
from edgetran_host.cosearch.goal import Goal
from edgetran_host.cosearch.gradient_query import gradient_queries
from edgetran_host.cosearch.lineage import lineage_pairs
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.outputs import (
    OUTPUTS,
    SCORE,
    Belief,
    Describer,
    Foretell,
    OutputModels,
)
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.pricing import Pricing, TrainingCost
from edgetran_host.cosearch.querying import (
    Effort,
    Query,
    candidates,
    climb,
    everywhere,
    mutate,
)
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.cosearch.starting import starting_pairs
from edgetran_host.space.architecture import Architecture

STARTS = 10
PRICED_STARTS = 5  # relatives, since a stranger costs a whole training
PRICED_BEST, PRICED_CHANCES = 8, 32  # trials that a draw by chance descends from; of so many
TIED = 30  # trials up to which a query is one block repeated: few can tell what a block is worth
STARTING, BY_CHANCE = "one of the first, before any model", "by chance"  # reasons
QUANTILE_EVERY = 4
DENSE = 40  # trials up to which scales are learnt anew every LEARN_EVERY
LEARN_EVERY = 4
GROWTH = 1 / 8  # then whenever there are so many more
GRADIENT_EVERY = 4  # trials; its queries must beat the climbed one to be asked
GRADIENT_STARTS = 1  # of the climbed, and of the best trials
DRAWS = 512  # of what trials are worth


@dataclass(frozen=True)
class Exploration:
    """As published, both are 0.1; where improvement is sampled, less exploring finds more."""

    alpha: float = 0.02  # queries of the largest epistemic uncertainty
    beta: float = 0.02  # uniformly random ones


EXPLORATION, EFFORT = Exploration(), Effort()


class Boshcode(Designer):
    def __init__(
        self,
        product: ProductSpace,
        goal: Goal,
        seed: int,
        *,
        starts: int | None = None,
        exploration: Exploration = EXPLORATION,
        effort: Effort = EFFORT,
        foretell: Foretell | None = None,
        training_cost: TrainingCost | None = None,
        trainings: float | None = None,
        whole_front: bool = False,
    ) -> None:
        """training_cost: None, where all trainings cost alike; trainings: the budget of them.

        whole_front: look for all trade-offs, not for the best value of the goal.
        """
        super().__init__(seed)
        self._product = product
        self._goal = goal
        self._pricing = None if training_cost is None else Pricing(training_cost, trainings)
        self._exploration = exploration
        self._effort = effort
        self._foretell = foretell
        self._whole_front = whole_front
        self._describer = Describer(product.space, product.places)
        self._starts = self._first(starts)
        self._learnt: tuple[int, dict[int, np.ndarray]] = (0, {})

    def _first(self, count: int | None) -> list[Pair]:
        if self._pricing is None:
            return starting_pairs(self._product, STARTS if count is None else count, self.seed)
        count = PRICED_STARTS if count is None else count
        features = self._describer.features
        return lineage_pairs(self._product, features, self._pricing, count, self.seed)

    def draws(self, pairs: Sequence[Pair], count: int = DRAWS) -> np.ndarray:
        """(count, n) what the goal may come to, by all trials; -inf where a limit breaks.

        One draw of a design's score serves all its boards. What is pending changes nothing,
        so a search that was killed promotes alike.
        """
        models, rng = self._models(), np.random.default_rng([self.seed, len(self.trials)])
        belief = models.believe(pairs)
        normal = rng.standard_normal((count, *belief.mean.shape))
        designs: dict[Architecture, int] = {}
        first = [designs.setdefault(pair.architecture, at) for at, pair in enumerate(pairs)]
        normal[..., SCORE] = normal[:, first, SCORE]
        drawn = Belief(belief.mean + normal * belief.deviation, np.zeros(belief.mean.shape))
        scores, costs = models.outcomes(drawn, np.zeros((1, OUTPUTS)))
        values = self._goal.values([pair.place for pair in pairs], scores, costs)
        return np.where((self._goal.excess(costs) <= 0).all(axis=-1), values, -np.inf)

    def _suggest(self, rng: np.random.Generator) -> Pair | None:
        with threadpool_limits(1):  # its matrices are small: threads would wait for one another
            return self._suggested(rng)

    def _suggested(self, rng: np.random.Generator) -> Pair | None:
        taken = self.taken()
        start = next((pair for pair in self._starts if pair not in taken), None)
        if start is not None and len(taken) < len(self._starts):
            self.reason = STARTING
            return start
        drawn = rng.random()
        if not self.trials or drawn < self._exploration.beta:
            return self._random(taken, rng)
        models = self._models()
        acquisition = self._acquisition(models, rng, drawn)
        self.reason = acquisition.reason
        queries = self._queries(models, acquisition, taken, rng)
        return queries[0].pair if queries else self._random(taken, rng)

    def _random(self, taken: set[Pair], rng: np.random.Generator) -> Pair | None:
        self.reason = BY_CHANCE
        if self._pricing is not None:
            near = [pair for pair in self._near_best(rng) if pair not in taken]
            if near:
                return self._pricing.draw(near, self.trials, rng)
        for _ in range(100):
            for pair in self._product.sample(rng, 16, tied=bool(rng.random() < 0.5)):
                if pair not in taken:
                    return pair
        return None

    def _near_best(self, rng: np.random.Generator) -> list[Pair]:
        """Different descendants of the best trials, as they were seen."""
        worth = {
            trial.pair: self._goal.value(trial.pair.place, trial.outcome)
            for trial in self.trials
            if trial.outcome.score is not None
        }
        best = sorted(worth, key=worth.__getitem__, reverse=True)[:PRICED_BEST]
        if not best:
            return []
        found = [
            mutate(best[int(rng.integers(len(best)))], self._product, rng, int(rng.integers(1, 4)))
            for _ in range(PRICED_CHANCES)
        ]
        return list(dict.fromkeys(found))

    def _models(self) -> OutputModels:
        """All trials, with scales learnt on the first so many: resuming learns them alike."""
        count = milestone(len(self.trials))
        if self._learnt[0] != count:
            learning = OutputModels(
                self._describer, self.trials[:count], self._goal, self._foretell
            )
            self._learnt = count, learning.scales
        return OutputModels(
            self._describer, self.trials, self._goal, self._foretell, self._learnt[1]
        )

    def _acquisition(
        self, models: OutputModels, rng: np.random.Generator, drawn: float
    ) -> Acquisition:
        normal = normal_samples(rng)
        if drawn < self._exploration.beta + self._exploration.alpha:
            return Uncertainty(models, normal)
        if self._whole_front and self._trained():
            points = np.array([objectives(trial.outcome) for trial in self._trained()])
            return FrontGrowth(models, normal, points)
        number = len(self.trials) + len(self.pending)
        best = self._best_expected(models)
        if best is not None and number % QUANTILE_EVERY == 0 and self._pricing is None:
            return Quantile(models, normal)
        return Improvement(models, normal, best, self._spread())

    def _queries(
        self,
        models: OutputModels,
        acquisition: Acquisition,
        taken: set[Pair],
        rng: np.random.Generator,
    ) -> list[Query]:
        def value(pairs: Sequence[Pair]) -> np.ndarray:
            found = acquisition.values(models.believe(pairs), [pair.place for pair in pairs])
            if self._pricing is not None:
                found = found - self._pricing.discount(pairs, self.trials)
            return found

        parents, tied = self._parents(models), self._tied()
        starts = candidates(self._product, parents, rng, self._effort, tied)
        if self._pricing is not None:
            starts += everywhere(parents, self._product)
        climbed = climb(value, self._product, starts, taken, rng, self._effort, tied)
        if tied or len(self.trials) % GRADIENT_EVERY or not climbed:
            return climbed
        ends = [query.pair for query in climbed[:GRADIENT_STARTS]] + parents[:GRADIENT_STARTS]
        slid = gradient_queries(
            acquisition, models, self._describer, self._product.space, ends, rng
        )
        free = [pair for pair in slid if pair not in taken]
        slots = [Query(pair, float(value([pair])[0])) for pair in free]
        return sorted([*climbed[:1], *slots], key=lambda query: query.value, reverse=True)

    def _tied(self) -> bool:
        """Where inheriting pays it is left out: changed everywhere, a relative inherits little."""
        return self._pricing is None and len(self.trials) + len(self.pending) < TIED

    def _trained(self) -> list[Trial]:
        """Those that have a score; costs alone ruled the others out."""
        return [trial for trial in self.trials if trial.outcome.score is not None]

    def _parents(self, models: OutputModels) -> list[Pair]:
        """The best trials by what the models make of them, those that keep the limits first."""
        expected = models.expected([trial.pair for trial in self.trials])
        kept = [self._goal.keeps(trial.outcome) for trial in self.trials]
        order = sorted(range(len(expected)), key=lambda at: (not kept[at], -expected[at]))
        return [self.trials[at].pair for at in order[: self._effort.parents]]

    def _best_expected(self, models: OutputModels) -> float | None:
        """Of trials that keep the limits, what the models make of them: no lucky draw."""
        kept = [one.pair for one in self._trained() if self._goal.keeps(one.outcome)]
        return float(models.expected(kept).max()) if kept else None

    def _spread(self) -> float:
        values = [self._goal.value(one.pair.place, one.outcome) for one in self._trained()]
        return (float(np.std(values)) if values else 0.0) or 1.0


def milestone(count: int) -> int:
    """The last number of trials, up to `count`, at which scales are learnt."""
    at = 1
    while (further := at + max(LEARN_EVERY, int(at * GROWTH) if at > DENSE else 0)) <= count:
        at = further
    return min(at, count)
