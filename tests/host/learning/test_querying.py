"""Which design is asked for: what a slow count of variances says, and what it is good for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.campaign.cells import Cells
from edgetran_host.campaign.plan import Plan
from edgetran_host.learning.candidates import candidates
from edgetran_host.learning.learner import Learner, fit_latency
from edgetran_host.learning.querying import NEARLY, Queries, first_guess
from edgetran_host.measuring.profiling import Request
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.surrogates.rows import rows_of
from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS, SEQUENCE_LENGTH, architecture_terms
from edgetran_protos.errors import UsageError

SPACE = DesignSpace.flexibert2()
COSTS = {"feed_forward_flops": 2e-11, "projection_flops": 3e-11, "c_9_heads": 2e-4, "layers": 1e-3}


def terms_of(designs: tuple[Architecture, ...]) -> np.ndarray:
    return np.array([list(architecture_terms(design).values()) for design in designs])


def latency_s(design: Architecture) -> float:
    terms = architecture_terms(design)
    return 2e-3 + sum(cost * terms[name] for name, cost in COSTS.items())


def row(design: Architecture, value_s: float) -> dict[str, object]:
    return {
        "architecture": design.to_dict(),
        "latency_s": value_s,
        "energy_j": None,
        "peak_power_w": None,
    }


def test_gain_is_what_measuring_takes_off_the_variance() -> None:
    terms = terms_of(candidates(SPACE, 1, 12))
    queries, expected = Queries(terms), first_guess(terms, tuple(ARCHITECTURE_TERMS))
    seen, noise = [3, 7], 0.05
    gains = queries.gains(expected, seen, noise)

    def mean_variance(rows: list[int]) -> float:
        prior = _prior(queries, terms, expected, noise)
        weights = np.zeros((len(rows), len(terms)))
        weights[np.arange(len(rows)), rows] = 1.0
        precision = np.linalg.inv(prior) + weights.T @ weights / noise**2
        return float(np.diag(np.linalg.inv(precision)).mean())

    before = mean_variance(seen)
    for design in (0, 5, 11):
        assert gains[design] == pytest.approx(before - mean_variance([*seen, design]), rel=1e-4)


def _prior(queries: Queries, terms: np.ndarray, expected: np.ndarray, noise: float) -> np.ndarray:
    shares = np.column_stack([np.ones(len(terms)), terms]) / expected[:, None]
    scale = shares.mean(axis=0)
    shares /= np.where(scale == 0, 1, scale)
    near = queries._near  # its own formula is pinned by test_nearness
    return 0.15**2 * shares @ shares.T + noise**2 * near + 1e-12 * np.eye(len(terms))


def test_nearness_is_one_at_a_design_and_falls() -> None:
    near = Queries(np.array([[1.0], [10.0], [100.0]]))._near
    assert np.diag(near) == pytest.approx(1.0)
    assert near[0, 1] > near[0, 2] > 0
    np.testing.assert_allclose(near, near.T)


def test_the_cheapest_of_equals_is_taken_and_none_twice() -> None:
    terms = terms_of(candidates(SPACE, 2, 30))
    queries, expected = Queries(terms), first_guess(terms, tuple(ARCHITECTURE_TERMS))
    seen: list[int] = []
    while len(seen) < len(terms):
        gains = queries.gains(expected, seen, 0.05)
        found = queries.best(expected, seen, 0.05)
        assert found not in seen
        others = [at for at in range(len(terms)) if at not in seen]
        good = [at for at in others if gains[at] >= NEARLY * gains[others].max()]
        assert expected[found] == expected[good].min()
        seen.append(found)
    with pytest.raises(ValueError, match="measured"):
        queries.best(expected, seen, 0.05)


@pytest.mark.parametrize(("budget", "error"), [(4, 0.10), (14, 0.03)])
def test_a_learner_knows_a_board_after_few_designs(budget: int, error: float) -> None:
    designs = candidates(SPACE, 3, 60)
    fresh = sample(SPACE, 40, np.random.default_rng(99))
    learner = Learner(_plan(designs), budget, 0.01, 0)
    asked: list[int] = []
    for _ in range(budget):
        known = [row(designs[at], latency_s(designs[at])) for at in asked]
        asked.append(learner.choose(rows_of([("x", known)]) if known else None, asked))
    assert len(set(asked)) == budget
    known = [row(designs[at], latency_s(designs[at])) for at in asked]
    model = fit_latency(rows_of([("x", known)]))
    held = rows_of([("x", [row(one, latency_s(one)) for one in fresh])])
    foretold = model.constant + held.terms @ model.costs
    assert np.median(np.abs(foretold / held.measures["latency_s"] - 1)) < error


def test_a_learner_that_starts_again_asks_for_the_same(tmp_path: Path) -> None:
    """A design that failed, and one without a valid figure, are no rows and not asked for again."""
    designs = candidates(SPACE, 4, 20)
    plan, cells = _plan(designs), Cells(tmp_path, "board")
    for turn in range(9):
        (one,) = _first(Learner(plan, 20, 0.001, 0), cells)
        (two,) = _first(Learner(plan, 20, 0.001, 0), cells)
        assert one == two
        assert not cells.done(one)
        verdict = "invalid" if turn == 2 else "valid"
        cell = {"row": {**row(one, latency_s(one)), "order": turn, "verdict": verdict}}
        cells.path(one).write_text(json.dumps({"failed": "too large"} if turn == 1 else cell))
    assert len(cells.valid_rows()) == 7
    assert _first(Learner(plan, 9, 0.001, 0), cells) == []
    early = Learner(plan, 20, 0.9, 0)
    for turn in range(9, 12):
        (one,) = _first(Learner(plan, 20, 0.001, 0), cells)
        cell = {"row": {**row(one, latency_s(one)), "order": turn, "verdict": "valid"}}
        cells.path(one).write_text(json.dumps(cell))
    assert _first(early, cells) == []
    assert early.stopped_early
    assert early.note.startswith("error ")


def test_a_budget_larger_than_the_candidates_is_refused() -> None:
    with pytest.raises(UsageError, match="21 measurements of 20"):
        Learner(_plan(candidates(SPACE, 0, 20)), 21, 0.1, 0)


def _plan(designs: tuple[Architecture, ...]) -> Plan:
    return Plan(("board",), designs, SEQUENCE_LENGTH, Request())


def _first(learner: Learner, cells: Cells) -> list[Architecture]:
    for design in learner.designs(cells):
        return [design]
    return []
