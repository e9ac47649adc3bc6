"""Which trials are trained longer, on scores whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.cosearch.boshcode import Boshcode
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.fidelities import ASSUMED, FULL, Fidelities, Seen
from edgetran_host.cosearch.goal import Limits, Weights
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.promoting import (
    chances,
    final,
    finalists,
    pairs_of,
    promotions,
    seen_draws,
)
from edgetran_host.space.architecture import Architecture
from edgetran_protos.errors import DataError
from hypothesis import given, settings
from hypothesis import strategies as st

from .toy_world import PLACES, PRODUCT, outcome_of, toy_goal

BIAS, SHORT_NOISE, FULL_NOISE = -0.05, 0.01, 0.002
PAIRS = list(dict.fromkeys(PRODUCT.sample(np.random.default_rng(11), 24, tied=True)))
GOAL = toy_goal()


@pytest.fixture(scope="module")
def trained(root: Path) -> dict[Architecture, dict[str, float]]:
    """Designs that were really trained, their scores by fidelity; again: by another seed."""
    table = json.loads((root / "benchmarks" / "scored_designs.json").read_text())
    return {
        Architecture.from_dict(one["architecture"]): {
            name: one[name]["held_out"]
            for name in ("transfer", "short", FULL, "full again")
            if name in one
        }
        for one in table["designs"]
    }


def seen_as(pair: Pair, fidelity: str, score: float | None, seed: int = 0) -> Seen:
    outcome = replace(outcome_of(pair), score=score)
    cost = {"transfer": 0.0, "short": 0.1, "full": 1.0}[fidelity]
    return Seen(Request(pair, fidelity, seed), Evaluation(outcome, cost))


def draw(pair: Pair, fidelity: str, rng: np.random.Generator, seed: int = 0) -> Seen:
    score = outcome_of(pair).score
    assert score is not None
    noise = FULL_NOISE if fidelity == FULL else SHORT_NOISE
    off = 0.0 if fidelity == FULL else BIAS
    return seen_as(pair, fidelity, score + off + noise * rng.standard_normal(), seed)


def test_offset_and_noise_of_short_trainings_are_learnt() -> None:
    rng = np.random.default_rng(0)
    seen = [draw(pair, fidelity, rng) for pair in PAIRS for fidelity in ("short", FULL)]
    found = Fidelities(seen)
    assert found.bias["short"] == pytest.approx(BIAS, abs=0.01)
    assert found.deviation["short"] == pytest.approx(SHORT_NOISE, rel=0.5)
    assert found.bias[FULL] == 0


def test_joined_score_is_the_likeliest_of_all_that_was_seen() -> None:
    """Against the normal equations, written out."""
    rng = np.random.default_rng(1)
    seen = [draw(pair, "short", rng) for pair in PAIRS]
    seen += [draw(pair, FULL, rng, seed) for pair in PAIRS[:5] for seed in (0, 1)]
    found = Fidelities(seen)
    mine = [one for one in seen if one.request.pair == PAIRS[0]]
    y = np.array([one.score for one in mine], dtype=float)
    y -= [found.bias[one.request.fidelity] for one in mine]
    precision = np.array([found.deviation[one.request.fidelity] ** -2 for one in mine])
    joined = found.joined(PAIRS[0].architecture)
    assert joined is not None
    assert joined.score == pytest.approx((precision * y).sum() / precision.sum())
    assert joined.deviation == pytest.approx(precision.sum() ** -0.5)


def test_one_training_counts_once_on_all_boards() -> None:
    here = Pair(PAIRS[0].architecture, PLACES[0])
    there = replace(here, place=PLACES[1])
    once = Fidelities([seen_as(here, "short", 0.8)]).joined(here.architecture)
    twice = Fidelities([seen_as(here, "short", 0.8), seen_as(there, "short", 0.8)])
    assert twice.joined(here.architecture) == once


def test_trials_are_one_a_pair_with_all_that_was_paid() -> None:
    rng = np.random.default_rng(2)
    seen = [draw(PAIRS[0], "short", rng), draw(PAIRS[1], "short", rng), draw(PAIRS[0], FULL, rng)]
    seen.append(seen_as(PAIRS[2], "short", None))
    trials = Fidelities(seen).trials(seen)
    assert [trial.pair for trial in trials] == PAIRS[:3]
    assert trials[0].training_cost == pytest.approx(1.1)
    assert trials[2].outcome.score is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.5))
def test_promotions_are_likely_winners_one_step_up(seed: int, chance: float) -> None:
    rng = np.random.default_rng(seed)
    seen = [draw(pair, "short", rng) for pair in PAIRS]
    seen += [draw(pair, FULL, rng) for pair in PAIRS[: int(rng.integers(0, 8))]]
    draws = seen_draws(seen, GOAL, rng)
    found = promotions(seen, draws, chance=chance, most=len(PAIRS))
    pairs, likely = pairs_of(seen), chances(draws)
    trained = {one.design for one in seen if one.request.fidelity == FULL}
    wanted = {
        pair.architecture
        for pair, one in zip(pairs, likely)
        if one >= chance and pair.architecture not in trained
    }
    assert {request.pair.architecture for request in found} == wanted
    assert {request.fidelity for request in found} <= {FULL}
    order = [likely[pairs.index(request.pair)] for request in found]
    assert order == sorted(order, reverse=True)


def test_promoting_ends_with_the_best_trained_fully() -> None:
    rng = np.random.default_rng(3)
    seen = [draw(pair, "short", rng) for pair in PAIRS]
    spent = 0
    while requests := promotions(seen, seen_draws(seen, GOAL, np.random.default_rng(0))):
        seen += [draw(request.pair, request.fidelity, rng) for request in requests]
        spent += len(requests)
    assert spent < len(PAIRS) / 2
    best = max(PAIRS, key=lambda pair: GOAL.value(pair.place, outcome_of(pair)))
    assert best.architecture in {one.design for one in seen if one.request.fidelity == FULL}


def test_what_is_assumed_was_measured(trained: dict[Architecture, dict[str, float]]) -> None:
    scores = list(trained.values())
    for fidelity in ("transfer", "short"):
        apart = [one[fidelity] - one[FULL] for one in scores]
        assert ASSUMED[fidelity] == pytest.approx(np.std(apart, ddof=1), rel=0.1)
    twice = [one["full again"] - one[FULL] for one in scores if "full again" in one]
    assert ASSUMED[FULL] == pytest.approx(np.sqrt(np.mean(np.square(twice)) / 2), rel=0.1)


@pytest.mark.parametrize(
    ("first", "most_short", "most_full"), [("transfer", 25, 8), ("short", 0, 8)]
)
def test_of_real_designs_few_are_trained_whole_and_the_best_is_found(
    trained: dict[Architecture, dict[str, float]], first: str, most_short: int, most_full: int
) -> None:
    """Scores alone count; what is chosen is as good as the best within the noise of a seed."""
    place = PLACES[0]
    goal = replace(GOAL, weights=Weights(1.0, 0.0, 0.0, 0.0))

    def tried(design: Architecture, fidelity: str) -> Seen:
        outcome = Outcome(trained[design][fidelity], 0.01, 0.1, 4.0, 1e6)
        return Seen(Request(Pair(design, place), fidelity), Evaluation(outcome, 1.0))

    seen = [tried(design, first) for design in trained]
    while found := promotions(seen, seen_draws(seen, goal, np.random.default_rng(len(seen)))):
        seen += [tried(one.pair.architecture, one.fidelity) for one in found]
    whole = [one.design for one in seen if one.request.fidelity == FULL]
    assert len(seen) - len(trained) - len(whole) <= most_short
    assert len(whole) <= most_full
    best = max(one[FULL] for one in trained.values())
    chosen = trained[final(seen, goal).pair.architecture][FULL]
    assert chosen >= best - 2 * ASSUMED[FULL]


def test_finalists_get_seeds_of_their_own_and_the_draw_that_chose_them_is_not_told() -> None:
    pair, other = PAIRS[:2]
    lucky = seen_as(pair, FULL, 0.99)
    seen = [lucky, seen_as(other, FULL, 0.5)]
    requests = finalists(seen, seen_draws(seen, GOAL, np.random.default_rng(0)), count=1, seeds=2)
    assert [(one.pair, one.fidelity, one.seed) for one in requests] == [
        (pair, FULL, 1),
        (pair, FULL, 2),
    ]
    seen += [seen_as(pair, FULL, score, at + 1) for at, score in enumerate((0.70, 0.72))]
    found = final(seen, GOAL)
    assert found.pair == pair
    assert (found.again, found.trainings) == (True, 2)
    assert found.outcome.score == pytest.approx(0.71)
    assert found.value == pytest.approx(GOAL.value(pair.place, found.outcome))


def test_without_new_trainings_the_result_says_so() -> None:
    found = final([seen_as(PAIRS[0], "short", 0.8)], GOAL)
    assert (found.again, found.trainings) == (False, 1)


def test_limits_rule_out_promotion_and_result() -> None:
    rng = np.random.default_rng(4)
    seen = [draw(pair, "short", rng) for pair in PAIRS]
    dear = sorted(outcome_of(pair).latency_s for pair in PAIRS)[len(PAIRS) // 4]
    goal = toy_goal(Limits(latency_s=dear))
    found = promotions(seen, seen_draws(seen, goal, rng), chance=0.01, most=99)
    assert found
    assert all(outcome_of(request.pair).latency_s <= dear for request in found)
    nothing = toy_goal(Limits(latency_s=1e-9))
    assert promotions(seen, seen_draws(seen, nothing, rng), most=99) == []
    with pytest.raises(DataError, match="limit"):
        final(seen, nothing)


def test_boshcode_draws_what_pairs_may_be_worth() -> None:
    rng = np.random.default_rng(5)
    seen = [draw(pair, "short", rng) for pair in PAIRS]
    designer = Boshcode(PRODUCT, GOAL, seed=0)
    designer.retell(Fidelities(seen).trials(seen))
    draws = designer.draws(pairs_of(seen))
    worth = [GOAL.value(pair.place, outcome_of(pair)) for pair in PAIRS]
    assert np.corrcoef(np.median(draws, axis=0), worth)[0, 1] > 0.9
    assert (draws.std(axis=0) > 0).all()
    assert promotions(seen, draws)
