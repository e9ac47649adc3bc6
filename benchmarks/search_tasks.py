"""What searches are compared on: assumed truths, and what is asked of each.

T1      the goal weighs score, latency, energy and peak power over all boards, each cost by its
        ratio to BERT-Base on the same board
T1c     the same, where what counts is full trainings: a design that inherits costs a part
T2-B    the best score on the board B within LIMIT of BERT-Base's latency there
T3      the front of 1 - score, ln latency, ln energy and ln peak power over all boards
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from edgetran_host.cosearch.front import objectives
from edgetran_host.cosearch.goal import Goal, Limits, Weights, costs
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_protos.errors import UsageError
from make_oracles import TRUTHS, bert, oracle_of
from search_session import Session

SCORE_SCALE = 0.04  # of GLUE: 3.2 points weigh as a factor e of latency and energy together
MEDIAN_OF = 2000  # random designs
BEST_KNOWN = Path(__file__).with_name("best_known.json")  # of best_known.py
LIMIT = 0.25  # of BERT-Base's latency
LIMITED = ("jetson-nano:cpu", "rpi4:cpu", "m1:gpu")
TASKS = ("T1", "T1c", *(f"T2-{board}" for board in LIMITED), "T3")
MOST = 400  # evaluations where trainings are counted: a known design on another board is free
MARGIN = 0.1  # of the random designs' range, by which the hypervolume's reference is worse


@dataclass(frozen=True)
class Task:
    truth: str
    name: str
    oracle: Oracle
    space: ProductSpace
    goal: Goal

    @property
    def front(self) -> bool:
        return self.name == "T3"

    @property
    def counted(self) -> bool:
        """Whether the budget is of full trainings."""
        return self.name == "T1c"

    def session(self, budget: float, seed: int) -> Session:
        most = MOST if self.counted else None
        return Session(self.oracle, self.space, self.goal, budget, seed, self.front, most)

    def exact(self, pairs: Sequence[Pair]) -> np.ndarray:
        """(n,) values without noise; -inf where a limit breaks."""
        outcomes = self.oracle.exact(pairs)
        scores = np.array([outcome.score for outcome in outcomes], dtype=float)
        values = self.goal.values([pair.place for pair in pairs], scores, costs(outcomes))
        keeps = (self.goal.excess(costs(outcomes)) <= 0).all(axis=1)
        return np.where(keeps, values, -np.inf)

    @cached_property
    def random(self) -> list[Pair]:
        return self.space.sample(np.random.default_rng(0), MEDIAN_OF, tied=False)

    @cached_property
    def median(self) -> float:
        """Of random designs that keep the limits."""
        values = self.exact(self.random)
        return float(np.median(values[np.isfinite(values)]))

    @cached_property
    def worst(self) -> np.ndarray:
        """(4,) the hypervolume's reference, a little worse than any random design."""
        points = np.array([objectives(one) for one in self.oracle.exact(self.random)])
        least, most = points.min(axis=0), points.max(axis=0)
        found: np.ndarray = most + MARGIN * (most - least)
        return found

    @cached_property
    def digest(self) -> str:
        """Of the truth and what is asked: results of another are of no use."""
        truth = [getattr(self.oracle.board, name) for name in ("constant", "costs", "least")]
        score = self.oracle.score
        arrays = [*truth, score.linear, score.quadratic, score.step_heights, score.step_places]
        arrays += [score.step_directions, score.step_widths, self.oracle.cost_noise]
        digest = hashlib.sha256(repr((self.name, self.goal, self.space, score.bias)).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype=float).tobytes())
        return digest.hexdigest()


@lru_cache
def task_of(truth_name: str, name: str) -> Task:
    """Raises UsageError for a task that there is not."""
    if name not in TASKS:
        raise UsageError(f"there is no task {name}", hint=f"choose of {', '.join(TASKS)}")
    oracle = truth(truth_name)
    board = name.partition("-")[2]
    places = (Place(board),) if board else oracle.places
    base = oracle.exact([Pair(bert(12, 768), place) for place in places])
    references = dict(zip(places, base))
    space = ProductSpace(DesignSpace.flexibert2(), places)
    goal = Goal(references, SCORE_SCALE)
    if board:
        limits = Limits(latency_s=LIMIT * base[0].latency_s)
        goal = Goal(references, SCORE_SCALE, Weights(1.0, 0.0, 0.0, 0.0), limits)
    return Task(truth_name, name, oracle, space, goal)


def truth(word: str) -> Oracle:
    return oracle_of(TRUTHS[word]()) if word in TRUTHS else Oracle.load(Path(word))


def best_known(word: str, task: str = "T1") -> Pair | None:
    found = json.loads(BEST_KNOWN.read_text(encoding="utf-8")).get(known_as(word, task))
    if found is None:
        return None
    return Pair(Architecture.from_dict(found["architecture"]), Place(found["board"]))


def known_as(word: str, task: str) -> str:
    """T1c asks for the same pair as T1."""
    return word if task in ("T1", "T1c") else f"{word} {task}"
