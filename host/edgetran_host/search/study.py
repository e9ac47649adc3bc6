"""Ask-and-tell search over a seeded space, kept in an Optuna study on disk.

Every paid evaluation is in the study, so a search that was interrupted goes on
from it. The first points are fixed (`SeededSpace.starting_points`); after them a
Gaussian process proposes, with the limits as constraints.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna

from edgetran_host.search.objective import Cost
from edgetran_host.search.seeded_space import Design, SeededSpace, from_params, to_params

STUDY_NAME = "search"
EXCESS_KEY = "excess"
MAX_REPEATS = 20  # proposals that repeat a known design before the space counts as used up


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

    def __init__(self, space: SeededSpace, path: Path, random_seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._space = space
        self._asked: dict[int, optuna.Trial] = {}  # suggested, not told yet
        sampler = optuna.samplers.GPSampler(
            seed=random_seed,
            n_startup_trials=len(space.starting_points()),
            constraints_func=lambda trial: tuple(trial.user_attrs.get(EXCESS_KEY, (0.0,) * 4)),
        )
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=f"sqlite:///{path}",
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )
        self._drop_unfinished()
        if not self.trials():
            for design in space.starting_points():
                self._study.enqueue_trial(to_params(design), skip_if_exists=True)

    def suggest(self) -> tuple[int, Design] | None:
        """A design nobody paid for yet and its trial number; None when none is found."""
        known = {trial.design for trial in self.trials()}
        for _ in range(MAX_REPEATS):
            trial = self._study.ask(self._distributions())
            design = from_params(trial.params)
            if design not in known:
                self._asked[trial.number] = trial
                return trial.number, design
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def update(self, number: int, trial: Trial, excess: Sequence[float]) -> None:
        asked = self._asked.pop(number)
        asked.set_user_attr(EXCESS_KEY, list(excess))
        asked.set_user_attr("cost", asdict(trial.cost))
        asked.set_user_attr("score", trial.score)
        asked.set_user_attr("feasible", trial.feasible)
        self._study.tell(asked, trial.value)

    def trials(self) -> list[Trial]:
        """Everything evaluated so far, in order."""
        complete = self._study.get_trials(
            deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)
        )
        return [
            Trial(
                design=from_params(trial.params),
                cost=Cost(**trial.user_attrs["cost"]),
                score=trial.user_attrs["score"],
                value=float(trial.value or 0.0),
                feasible=bool(trial.user_attrs["feasible"]),
            )
            for trial in complete
        ]

    def best(self) -> Trial | None:
        """The best design that keeps every limit."""
        kept = [trial for trial in self.trials() if trial.feasible and trial.score is not None]
        return max(kept, key=lambda trial: trial.value, default=None)

    def _drop_unfinished(self) -> None:
        """A trial that was running when its process died is asked for again."""
        running = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        for trial in running:
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if trial.params:
                self._study.enqueue_trial(trial.params)

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        pieces = tuple(size or 0 for size in self._space.vocabulary)
        choices: dict[str, Sequence[int | str]] = {
            "layers": self._space.layers,
            "heads": self._space.heads,
            "feed_forward": self._space.feed_forward,
            "vocabulary": pieces,
            "precision": self._space.precision,
        }
        return {
            name: optuna.distributions.CategoricalDistribution(values)
            for name, values in choices.items()
        }
