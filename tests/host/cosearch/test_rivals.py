"""Rivals of the benchmark: each keeps its budget and the space, and follows from its seed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgetran_host.cosearch.goal import Goal
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.design_space import DesignSpace

QUICK = (
    *("local_tied", "local_untied", "evolution_tied", "evolution_untied", "random", "random_tied"),
    *("optuna_nsga2_layers", "optuna_random_tied"),
)
BUDGET = 14


@pytest.fixture(scope="module")
def rivals(root: Path) -> ModuleType:
    """benchmarks/search_rivals.py, which imports as scripts of that folder do."""
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        return importlib.import_module("search_rivals")
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def oracle(root: Path) -> Oracle:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        making = importlib.import_module("make_oracles")
    finally:
        sys.path.pop(0)
    found: Oracle = making.oracle_of(making.friendly())
    return found


@pytest.mark.parametrize("name", QUICK)
def test_budget_space_and_seed(rivals: ModuleType, oracle: Oracle, name: str) -> None:
    space = ProductSpace(DesignSpace.flexibert2(), oracle.places)
    (first,) = space.sample(np.random.default_rng(0), 1, tied=True)
    start = [Pair(first.architecture, place) for place in oracle.places]
    goal = Goal(dict(zip(oracle.places, oracle.exact(start), strict=True)), 0.04)

    def run(seed: int) -> list[Pair]:
        session = rivals.Session(oracle, space, goal, BUDGET, seed)
        rivals.METHODS[name](session)
        assert len(session.trials) == BUDGET
        return [trial.pair for trial in session.trials]

    pairs = run(1)
    assert all(map(space.contains, pairs))
    assert pairs == run(1)
    assert pairs != run(2)
