"""Ask-and-tell search over a seeded space, kept in an Optuna study on disk.

Every paid evaluation is in the study, so a search that was interrupted goes on
from it. The first points are fixed (`SeededSpace.starting_points`, lighter ones where those
break a limit, and the smallest where all do); after them a Gaussian process proposes, with the
limits as constraints. A handful of evaluations tells it little of a design far from all of
them, so what it proposes lies near the best one, and the farther the more it has seen. What is
suggested follows from the random seed and the evaluations alone, however often the process
was started.
"""

from __future__ import annotations

import random
import sqlite3
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from edgetran_protos.errors import UsageError
from optuna.trial import TrialState

from edgetran_host.search.objective import BALANCE, Cost
from edgetran_host.search.seeded_space import Design, SeededSpace, from_params, to_params

STUDY_NAME = "search"
RESULT_KEY = "result"  # user attribute of an evaluated trial
REFUSED_KEY = "refused"  # of one that cannot be exported: why
SIZE = "size"
LIMITS = ("latency", "energy", SIZE, "power")  # in the order of `objective.excess`
TRIALS_A_STEP = 4  # feasible ones that let a proposal lie one step farther from the best


@dataclass(frozen=True)
class Trial:
    """One evaluated design. `score` is None when its cost already broke a limit."""

    design: Design
    cost: Cost
    score: float | None
    value: float
    feasible: bool


class SeededStudy:
    """Suggests designs and remembers what they gave."""

    def __init__(
        self, space: SeededSpace, path: Path, random_seed: int, prefer: str = BALANCE
    ) -> None:
        self._study = _open(path)
        self._space = _begun_in(self._study) or space
        self._starts = self._space.starting_points(prefer)
        self._random_seed = random_seed
        self._asked: dict[int, optuna.Trial] = {}  # suggested, not told yet
        self._interrupted = self._settle()

    def suggest(self) -> tuple[int, Design] | None:
        """A design nobody paid for yet and its trial number.

        None when all are paid for, or when even the smallest break a limit.
        """
        done = self.trials()
        known = {trial.design for trial in done} | self.refused().keys()
        left = [design for design in self._space.designs() if design not in known]
        first = [*self._interrupted, *self._starts, *self._lighter()]
        hopeless = not any(trial.feasible for trial in done)
        if hopeless:
            first += self._space.smallest_points()
        fixed = next((design for design in first if design in left), None)
        if not left or (hopeless and fixed is None):
            return None
        self._study.sampler = self._sampler(len(done))
        trial = self._ask(fixed)
        proposed = from_params(trial.params)
        open_ = left if fixed else self._within_reach(left)
        if proposed not in open_:  # known, or too far: the nearest else
            self._study.tell(trial, state=TrialState.FAIL)
            trial = self._ask(min(open_, key=lambda design: self._space.distance(design, proposed)))
        self._asked[trial.number] = trial
        return trial.number, from_params(trial.params)

    def update(self, number: int, trial: Trial, excess: Sequence[float]) -> None:
        asked = self._asked.pop(number)
        for limit, part in zip(LIMITS, excess):
            asked.set_constraint(limit, part)
        asked.set_user_attr(RESULT_KEY, asdict(trial))
        self._study.tell(asked, trial.value)

    def refuse(self, number: int, why: str) -> None:
        """It cannot be exported: it does not come again, and the search learns nothing from it."""
        asked = self._asked.pop(number)
        asked.set_user_attr(REFUSED_KEY, why)
        self._study.tell(asked, state=TrialState.FAIL)

    def refused(self) -> dict[Design, str]:
        """What cannot be exported, and why."""
        return {
            from_params(trial.params): trial.user_attrs[REFUSED_KEY]
            for trial in self._in(TrialState.FAIL)
            if REFUSED_KEY in trial.user_attrs
        }

    def trials(self) -> list[Trial]:
        """Everything evaluated so far, in order."""
        return [_from_json(found.user_attrs[RESULT_KEY]) for found in self._in(TrialState.COMPLETE)]

    def best(self) -> Trial | None:
        """The best design that keeps every limit."""
        kept = [trial for trial in self.trials() if trial.feasible and trial.score is not None]
        return max(kept, key=lambda trial: trial.value, default=None)

    def _within_reach(self, left: list[Design]) -> list[Design]:
        """Those near the best one, the nearest at least; all while there is none."""
        best = self.best()
        if best is None:
            return left
        apart = {design: self._space.distance(design, best.design) for design in left}
        seen = sum(trial.feasible for trial in self.trials())
        reach = max(1 + seen // TRIALS_A_STEP, min(apart.values()))
        return [design for design in left if apart[design] <= reach]

    def _lighter(self) -> list[Design]:
        """For starting points that break a limit: the next fewer pieces where it is bytes alone,
        since a table of words is what a design misses least; else narrower layers."""
        broken = {
            from_params(trial.params): {limit for limit, by in trial.constraints.items() if by > 0}
            for trial in self._in(TrialState.COMPLETE)
        }
        found = []
        for point in self._starts:
            lighter: Design | None = point
            while lighter is not None and (limits := broken.get(lighter)):
                bytes_alone = limits == {SIZE}
                lighter = (
                    self._space.with_fewer_pieces(lighter)
                    if bytes_alone
                    else self._space.narrower(lighter)
                )
            if lighter is not None and lighter != point:
                found.append(lighter)
        return found

    def _ask(self, design: Design | None) -> optuna.Trial:
        """A trial of this design, or of one that the sampler proposes."""
        if design is not None:
            self._study.enqueue_trial(to_params(design))
        return self._study.ask(self._distributions())

    def _settle(self) -> list[Design]:
        """Ends what a killed process left open; the designs it was working on."""
        while self._in(TrialState.WAITING):
            self._study.ask(self._distributions())
        designs = []
        for trial in self._in(TrialState.RUNNING):
            if RESULT_KEY in trial.user_attrs:  # paid for; only the last word is missing
                self._study.tell(trial.number, trial.user_attrs[RESULT_KEY]["value"])
                continue
            self._study.tell(trial.number, state=TrialState.FAIL)
            if REFUSED_KEY in trial.user_attrs:
                continue
            if trial.params.keys() == self._distributions().keys():
                designs.append(from_params(trial.params))
        return designs

    def _in(self, state: TrialState) -> list[optuna.trial.FrozenTrial]:
        found: list[optuna.trial.FrozenTrial] = self._study.get_trials(
            deepcopy=False, states=(state,)
        )
        return found

    def _sampler(self, evaluated: int) -> optuna.samplers.GPSampler:
        """A fresh one a suggestion, since what it remembers dies with the process."""
        seed = random.Random(f"{self._random_seed}/{evaluated}").getrandbits(32)
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=len(self._starts))

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        pieces = tuple(size or 0 for size in self._space.vocabulary)
        tables = tuple(width or 0 for width in self._space.table)
        choices: dict[str, Sequence[int | str]] = {
            "layers": self._space.layers,
            "heads": self._space.heads,
            "feed_forward": self._space.feed_forward,
            "vocabulary": pieces,
            "precision": self._space.precision,
            **({"table": tables} if len(tables) > 1 else {}),
        }
        return {
            name: optuna.distributions.CategoricalDistribution(values)
            for name, values in choices.items()
        }


def read_trials(path: Path) -> list[Trial]:
    """Everything evaluated so far, of a search that may be under way; nothing is written."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = optuna.get_all_study_names(f"sqlite:///{quote(str(path))}") if path.exists() else []
    if STUDY_NAME not in names:
        return []
    study = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{quote(str(path))}")
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [_from_json(found.user_attrs[RESULT_KEY]) for found in ended]


def _open(path: Path) -> optuna.Study:
    """The study in the file, made if need be. Raises UsageError when it is damaged."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    try:
        return optuna.create_study(
            study_name=STUDY_NAME,
            storage=f"sqlite:///{quote(str(path))}",  # it is unquoted there
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # the errors of Optuna's database library
        if not isinstance(error.__cause__, sqlite3.DatabaseError):
            raise
        raise UsageError(
            f"{path} is no readable study: {error.__cause__}",
            hint="remove it, then give the same command again; the search starts anew",
        ) from error


def _begun_in(study: optuna.Study) -> SeededSpace | None:
    """The choices that its first design had, which another version may have others of: a search
    ends in the space it began in. None: no design was asked for."""
    begun = [trial for trial in study.get_trials(deepcopy=False) if trial.distributions]
    if not begun:
        return None
    choices: dict[str, tuple[Any, ...]] = {
        name: axis.choices
        for name, axis in begun[0].distributions.items()
        if isinstance(axis, optuna.distributions.CategoricalDistribution)
    }
    return SeededSpace(
        layers=choices["layers"],
        heads=choices["heads"],
        feed_forward=choices["feed_forward"],
        vocabulary=tuple(size or None for size in choices["vocabulary"]),
        precision=choices["precision"],
        table=tuple(width or None for width in choices.get("table", (0,))),
    )


def _from_json(raw: dict[str, Any]) -> Trial:
    return Trial(**{**raw, "design": Design(**raw["design"]), "cost": Cost(**raw["cost"])})
