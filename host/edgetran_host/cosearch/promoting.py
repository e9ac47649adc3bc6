"""Which trials deserve a longer training, and what the search may say it found.

A loop asks in this order, and evaluates what it is given before it asks again:

    fidelities = Fidelities(seen)
    designer.retell(fidelities.trials(seen))
    requests = promotions(seen, draws(designer, ...), most=workers)    # short -> full
    requests = requests or [Request(pair, first) for pair in designer.suggest(workers)]

and, its budget spent but for `finalists x seeds` trainings,

    requests = finalists(seen, draws, count, seeds)                    # new seeds of the best
    result = final(seen, goal)                                         # once they are seen

`draws` are samples (s, n) of the goal's value of the pairs `pairs_of(seen)`, after a full
training, -inf where a limit breaks: `designer.draws(pairs)` of BOSHCODE, from all its models,
or, of a designer without models, `seen_draws`, which knows what each pair gave by itself. A
trial is promoted when it is the best of all in more than a share `chance` of the samples:
freeze and thaw without the curves. Each is promoted once a fidelity, so a loop ends. A sampled
best has seen luck, hence the result is what new seeds gave, never the draw that chose it.
Source: Swersky et al., "Freeze-thaw Bayesian optimization" (2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgetran_protos.errors import DataError

from edgetran_host.cosearch.evaluator import FIDELITIES, Request
from edgetran_host.cosearch.fidelities import FULL, Fidelities, Seen, highest
from edgetran_host.cosearch.goal import Goal, costs
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair

CHANCE = 0.05  # of being the best, from which a longer training pays
SAMPLES = 512


@dataclass(frozen=True)
class Final:
    """`outcome.score` is the mean over `trainings`, none of which chose the pair if `again`."""

    pair: Pair
    outcome: Outcome
    value: float
    score_deviation: float  # of the mean score
    trainings: int
    again: bool  # trained anew after it was chosen; else its own draw, which luck has seen


def pairs_of(seen: Sequence[Seen]) -> list[Pair]:
    """Distinct, in the order first seen, with a score: the columns of draws."""
    return list(dict.fromkeys(one.request.pair for one in seen if one.score is not None))


def promotions(
    seen: Sequence[Seen], draws: np.ndarray, *, chance: float = CHANCE, most: int = 1
) -> list[Request]:
    """The next fidelity of those that are likely enough the best, the likeliest first."""
    pairs, reached = pairs_of(seen), highest(seen)
    likely = chances(draws)
    found: dict[object, Request] = {}  # by design: its training serves all boards
    for at in np.argsort(-likely, kind="stable"):
        pair = pairs[at]
        rung = FIDELITIES.index(reached[pair.architecture])
        if likely[at] >= chance and rung + 1 < len(FIDELITIES):
            found.setdefault(pair.architecture, Request(pair, FIDELITIES[rung + 1]))
    return list(found.values())[:most]


def chances(draws: np.ndarray) -> np.ndarray:
    """draws (s, n) -> (n,) how often each is the best; samples without any feasible count not."""
    feasible = draws[np.isfinite(draws).any(axis=1)]
    wins = np.bincount(feasible.argmax(axis=1), minlength=draws.shape[1])
    found: np.ndarray = wins / len(draws)
    return found


def finalists(
    seen: Sequence[Seen], draws: np.ndarray, count: int = 3, seeds: int = 2
) -> list[Request]:
    """Full trainings with seeds not used yet, of the best by the middle of their draws."""
    pairs = pairs_of(seen)
    middle = np.median(draws, axis=0)
    order = [at for at in np.argsort(-middle, kind="stable") if np.isfinite(middle[at])]
    return [
        Request(pairs[at], FULL, seed)
        for at in order[:count]
        for seed in _new_seeds(seen, pairs[at], seeds)
    ]


def final(seen: Sequence[Seen], goal: Goal) -> Final:
    """Chosen by all that is known, among those trained again where there are any."""
    fidelities = Fidelities(seen)
    kept = [pair for pair in pairs_of(seen) if goal.keeps(_last(seen, pair))]
    if not kept:
        raise DataError("no trial keeps every limit", hint="loosen a limit, or search on")
    candidates = [pair for pair in kept if len(_full(seen, pair)) > 1] or kept

    def worth(pair: Pair) -> float:
        found = fidelities.joined(pair.architecture)
        assert found is not None  # pairs_of has those with a score only
        return goal.value(pair.place, replace(_last(seen, pair), score=found.score))

    pair = max(candidates, key=worth)
    scores = _full(seen, pair)
    again = len(scores) > 1
    joined = fidelities.joined(pair.architecture)
    assert joined is not None
    score = float(np.mean(scores[1:])) if again else joined.score
    outcome = replace(_last(seen, pair), score=score)
    deviation = joined.deviation
    if again:
        deviation = fidelities.deviation[FULL] / (len(scores) - 1) ** 0.5
    count = max(1, len(scores) - 1)
    return Final(pair, outcome, goal.value(pair.place, outcome), deviation, count, again)


def seen_draws(seen: Sequence[Seen], goal: Goal, rng: np.random.Generator) -> np.ndarray:
    """(SAMPLES, n) by what each design scored alone, for searches without models."""
    fidelities, pairs = Fidelities(seen), pairs_of(seen)
    designs = list(dict.fromkeys(pair.architecture for pair in pairs))
    joined = [fidelities.joined(design) for design in designs]
    mean = np.array([one.score for one in joined if one is not None])
    deviation = np.array([one.deviation for one in joined if one is not None])
    drawn = mean + deviation * rng.standard_normal((SAMPLES, len(designs)))
    at = {design: column for column, design in enumerate(designs)}
    scores = drawn[:, [at[pair.architecture] for pair in pairs]]  # one draw for all its boards
    outcomes = [_last(seen, pair) for pair in pairs]
    every = np.broadcast_to(costs(outcomes), (SAMPLES, len(pairs), costs(outcomes).shape[1]))
    values = goal.values([pair.place for pair in pairs], scores, every)
    return np.where([goal.keeps(outcome) for outcome in outcomes], values, -np.inf)


def _full(seen: Sequence[Seen], pair: Pair) -> list[float]:
    """Scores of the design's full trainings, the first first, one a seed."""
    found: dict[int, float] = {}
    for one in seen:
        same = one.design == pair.architecture and one.request.fidelity == FULL
        if same and one.score is not None:
            found.setdefault(one.request.seed, one.score)
    return list(found.values())


def _last(seen: Sequence[Seen], pair: Pair) -> Outcome:
    return next(one.evaluation.outcome for one in reversed(seen) if one.request.pair == pair)


def _new_seeds(seen: Sequence[Seen], pair: Pair, count: int) -> range:
    used = [one.request.seed for one in seen if one.design == pair.architecture]
    return range(max(used) + 1, max(used) + 1 + count)
