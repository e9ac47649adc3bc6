"""Rivals of the benchmark: each keeps its budget and the space, and follows from its seed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgetran_host.cosearch.front import dominates
from edgetran_host.cosearch.pair import Pair

CHEAP = (
    *("local_tied", "local_untied", "evolution_tied", "evolution_untied", "random", "random_tied"),
    *("optuna_nsga2_layers", "optuna_random_freed"),
)
FRONT = ("local_tied", "evolution_untied", "optuna_nsga2_layers")
BUDGET = 14


@pytest.fixture(scope="module")
def benchmark(root: Path) -> dict[str, ModuleType]:
    """Modules of benchmarks/, which import one another as scripts of that folder do."""
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        names = ("search_rivals", "search_tasks", "search_cells", "search_scores", "search_session")
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.pop(0)


def searched(benchmark: dict[str, ModuleType], task: str, method: str, seed: int) -> list[Pair]:
    asked = benchmark["search_tasks"].task_of("friendly", task)
    session = asked.session(BUDGET, seed)
    methods = "FRONT_METHODS" if asked.front else "METHODS"
    getattr(benchmark["search_rivals"], methods)[method](session)
    assert len(session.trials) == BUDGET
    assert all(asked.space.contains(trial.pair) for trial in session.trials)
    return [trial.pair for trial in session.trials]


@pytest.mark.parametrize("name", CHEAP)
def test_budget_space_and_seed(benchmark: dict[str, ModuleType], name: str) -> None:
    pairs = searched(benchmark, "T1", name, 1)
    assert pairs == searched(benchmark, "T1", name, 1)
    assert pairs != searched(benchmark, "T1", name, 2)


@pytest.mark.parametrize("name", FRONT)
def test_searches_of_a_front(benchmark: dict[str, ModuleType], name: str) -> None:
    assert searched(benchmark, "T3", name, 1) == searched(benchmark, "T3", name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forest_tied", "forest_untied", "legacy", "optuna_tpe_freed"])
def test_methods_with_models(benchmark: dict[str, ModuleType], name: str) -> None:
    assert searched(benchmark, "T1", name, 1) == searched(benchmark, "T1", name, 1)


def test_a_limit_is_worse_broken_than_kept(benchmark: dict[str, ModuleType]) -> None:
    """Whatever the score, and the more so the further beyond."""
    task = benchmark["search_tasks"].task_of("friendly", "T2-rpi4:cpu")
    pairs = task.random[:300]
    outcomes = task.oracle.exact(pairs)
    values = [
        benchmark["search_session"].valued(task.goal, pair, outcome)
        for pair, outcome in zip(pairs, outcomes, strict=True)
    ]
    limit = task.goal.limits.latency_s
    within = [value for value, one in zip(values, outcomes, strict=True) if one.latency_s <= limit]
    beyond = sorted(
        (one.latency_s, value)
        for value, one in zip(values, outcomes, strict=True)
        if one.latency_s > limit
    )
    assert 0 < len(within) < len(pairs)
    assert min(within) > max(value for _, value in beyond)
    assert [value for _, value in beyond] == sorted((v for _, v in beyond), reverse=True)


def test_trainings_are_paid_in_parts(benchmark: dict[str, ModuleType]) -> None:
    """The first design pays all, one that inherits a part, one more board nothing."""
    task = benchmark["search_tasks"].task_of("friendly", "T1c")
    session = task.session(3.0, 0)
    (pair,) = task.space.sample(np.random.default_rng(0), 1, tied=True)
    for place in task.space.places[:2]:
        session.value(Pair(pair.architecture, place))
    assert [trial.training_cost for trial in session.trials] == [1.0, 0.0]
    assert session.left == 2.0
    benchmark["search_rivals"].METHODS["local_tied"](session)
    assert session.left == 0
    assert sum(trial.training_cost for trial in session.trials[:-1]) < 3.0
    with pytest.raises(ValueError, match="spent"):
        session.value(pair)


def test_a_cell_is_run_once(benchmark: dict[str, ModuleType], tmp_path: Path) -> None:
    cells, tasks = benchmark["search_cells"], benchmark["search_tasks"]
    cell, task = cells.Cell("friendly", "T1", "random", 3), tasks.task_of("friendly", "T1")
    assert cells.kept(cell, tmp_path, task, BUDGET) is None
    cells.run(cell, tmp_path, BUDGET)
    path = cell.path(tmp_path)
    first = path.stat().st_mtime_ns
    trace = cells.kept(cell, tmp_path, task, BUDGET)
    assert trace.measured.shape == trace.exact.shape == (BUDGET, 5)
    cells.run(cell, tmp_path, BUDGET - 1)  # is there
    assert path.stat().st_mtime_ns == first
    cells.run(cell, tmp_path, BUDGET + 1)
    longer = cells.kept(cell, tmp_path, task, BUDGET + 1)
    assert np.array_equal(longer.measured[:BUDGET], trace.measured)
    other = tasks.task_of("hostile", "T1")
    assert cells.kept(cell, tmp_path, other, BUDGET) is None  # of another truth


def test_what_looked_best_is_told_by_its_exact_value(
    benchmark: dict[str, ModuleType], tmp_path: Path
) -> None:
    """Against a plain loop over the trials."""
    cells, scores = benchmark["search_cells"], benchmark["search_scores"]
    task = benchmark["search_tasks"].task_of("friendly", "T1")
    cell = cells.Cell("friendly", "T1", "random", 0)
    cells.run(cell, tmp_path, BUDGET)
    trace = cells.kept(cell, tmp_path, task, BUDGET)
    found, again = scores.looked_best(task, trace), scores.looked_best_again(task, trace)

    def value(row: np.ndarray, at: int) -> float:
        place = task.space.places[trace.places[at]]
        return float(task.goal.values([place], row[None, 0], row[None, 1:])[0])

    for count in range(1, BUDGET + 1):
        seen = [value(trace.measured[at], at) for at in range(count)]
        best = seen.index(max(seen))
        assert found[count - 1] == pytest.approx(value(trace.exact[best], best))
    finalists = np.argsort([-value(trace.measured[at], at) for at in range(BUDGET - 6)])[:3]
    means = {
        at: np.mean([value(row, at) for row in (trace.measured[at], *trace.repeats[at])])
        for at in finalists
    }
    chosen = max(means, key=lambda at: means[at])
    assert again[-1] == pytest.approx(value(trace.exact[chosen], chosen))


def test_shares_and_evaluations_needed(benchmark: dict[str, ModuleType]) -> None:
    scores = benchmark["search_scores"]
    found = scores.shares(np.array([-np.inf, 1.0, 2.0, 3.0]), median=1.0, best=3.0)
    assert found.tolist() == [0.0, 0.0, 0.5, 1.0]
    curves = np.array([[0.1, 0.9, 0.9], [0.1, 0.2, 0.95], [0.1, 0.2, 0.3]])
    assert scores.needed(curves, 0.9).tolist() == [2.0, 3.0, np.inf]
    assert scores.upper_median(scores.needed(curves, 0.9)) == 3.0
    spent = scores.by_cost(
        np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.25, 1.25]), budget=9.0, step=0.5
    )
    assert spent.tolist() == [-np.inf, 1.0, 2.0, 2.0, 3.0]


def test_the_volume_counts_what_the_measurements_chose(benchmark: dict[str, ModuleType]) -> None:
    """Of two, the worse one looked as if it beat the other: only its exact point counts."""
    cells, scores = benchmark["search_cells"], benchmark["search_scores"]
    exact = np.array([[0.8, 1.0, 1.0, 1.0, 9.0], [0.7, 1.0, 1.0, 1.0, 9.0]])
    measured = np.array([[0.7, 1.2, 1.2, 1.2, 9.0], [0.8, 1.0, 1.0, 1.0, 9.0]])
    assert dominates(scores.points(exact)[0], scores.points(exact)[1])
    nothing = np.zeros(2)
    trace = cells.Trace(measured, exact, np.zeros((2, 2, 5)), nothing, nothing, 0.0, "")
    worst = np.array([1.0, 1.0, 2.0, 1.0])
    found = scores.volumes(trace, worst, (1, 2, 3))
    assert found == pytest.approx({1: 0.8 * 2, 2: 0.7 * 2})
