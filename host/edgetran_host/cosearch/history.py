"""Every trial of a search, kept in an Optuna study, so that nothing paid for is lost.

The study lies in any database that Optuna knows, and its dashboard opens it. Several processes
may tell into one: each goes by its `worker` name and numbers what it asks for, so that one
that was killed finds what it was at. A trial appears whole, with its pair; what it gave is
written before its state, so that a trial which was paid for counts, whenever the process ended.

    study, user attribute "search"      the brief
    trial, parameters                   the pair in a few numbers (`readable`)
    trial, values                       the goal's value, or score and costs of a front
    trial, constraints                  ln(cost / limit) of each limit
    trial, user attribute "request"     pair, fidelity and seed, exactly
    trial, user attribute "asked"       by whom, in which turn, for what
    trial, user attribute "evaluation"  outcome, its sources, the cost of the training
    trial, user attribute "error"       why it failed
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

import optuna
from edgetran_protos.errors import UsageError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import Evaluation, Request
from edgetran_host.cosearch.goal import COSTS, costs
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.readable import distributions, parameters
from edgetran_host.cosearch.stored import (
    evaluation_from_json,
    evaluation_to_json,
    request_from_json,
    request_to_json,
)

BRIEF, REQUEST, ASKED, EVALUATION, ERROR = "search", "request", "asked", "evaluation", "error"
ROLES = ("search", "finalist")
OBJECTIVE = "objective"  # a study's only value, where it is no front
MAXIMIZE, MINIMIZE = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
NO_VALUE = TrialState.PRUNED  # evaluated, but costs alone ruled it out: nothing was trained
MAKING_TRIES, MAKING_S = 10, 0.3
URLS = "write it like sqlite:///folder/search.db or postgresql://user@host/name"


@dataclass(frozen=True)
class Asked:
    """`turn` counts what one worker asked for in one role, from 0."""

    worker: str
    turn: int
    role: str = "search"  # one of ROLES; a finalist is evaluated again
    suggesting_s: float = 0.0  # that the designer took
    training_cost: float | None = None  # of it, by the designs told then; None: left to evaluate
    reason: str = ""  # why the designer asked for it


@dataclass(frozen=True)
class Entry:
    """One trial. No evaluation and no error: it is being evaluated, or its process died."""

    number: int
    request: Request
    asked: Asked
    evaluation: Evaluation | None
    error: str
    started: datetime
    ended: datetime | None

    @property
    def pending(self) -> bool:
        return self.evaluation is None and not self.error

    @property
    def trial(self) -> Trial:
        """As a designer is told it."""
        if self.evaluation is None:
            raise ValueError(f"trial {self.number} gave nothing")
        return Trial(self.request.pair, self.evaluation.outcome, self.evaluation.training_cost)


class History:
    """A study; all errors of its database become UsageError."""

    def __init__(self, study: optuna.Study, storage: optuna.storages.RDBStorage) -> None:
        """Callers use `create` or `open`."""
        self._study = study
        self._storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)
        self.name: str = study.study_name
        self.brief = Brief.from_json(study.user_attrs[BRIEF])
        self._distributions = distributions(self.brief.product)
        self._ended: dict[int, Entry] = {}

    @staticmethod
    def create(url: str, name: str, brief: Brief) -> History:
        """Continues the study of that name. Raises UsageError when it is of another request."""
        storage = _storage(url)
        axes = brief.axes if brief.whole_front else (OBJECTIVE,)
        directions = [MAXIMIZE if axis in (OBJECTIVE, "score") else MINIMIZE for axis in axes]
        with _told(url):
            try:
                study = optuna.create_study(
                    study_name=name, storage=storage, directions=directions, sampler=_sampler()
                )
            except optuna.exceptions.DuplicatedStudyError:
                study = optuna.load_study(study_name=name, storage=storage, sampler=_sampler())
            if BRIEF not in study.user_attrs:  # new, or its process died right here
                if len(study.directions) != len(directions):
                    raise _other(url, name)
                study.set_metric_names(list(axes))
                study.set_user_attr(BRIEF, brief.to_json())
            found = History(study, storage)
        if found.brief.identity != brief.identity:
            raise _other(url, name)
        return found

    @staticmethod
    def open(url: str, name: str = "") -> History:
        """To read, or to go on. name: may be left out where the storage holds one search."""
        names = names_in(url)
        if name not in names and (name or len(names) != 1):
            held = f"it holds {', '.join(names)}" if names else "it holds none"
            raise UsageError(f"{shown(url)} does not hold {name or 'one search'}", hint=held)
        storage = _storage(url)
        with _told(url):
            study = optuna.load_study(
                study_name=name or names[0], storage=storage, sampler=_sampler()
            )
            return History(study, storage)

    def ask(self, request: Request, asked: Asked) -> int:
        """Writes down what is going to be evaluated; its number."""
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=parameters(request.pair, self.brief.product),
            distributions=self._distributions,
            user_attrs={REQUEST: request_to_json(request), ASKED: asdict(asked)},
        )
        with _told(self.name):
            made = self._storage.create_new_trial(self._id, template_trial=trial)
            return int(self._storage.get_trial_number_from_id(made))

    def tell(self, number: int, evaluation: Evaluation) -> None:
        with _told(self.name):
            self._trial(number).set_user_attr(EVALUATION, evaluation_to_json(evaluation))
            self._settle(number, _entry(self._storage.get_trial(self._id_of(number))))

    def fail(self, number: int, error: str) -> None:
        """It is never tried again."""
        with _told(self.name):
            self._trial(number).set_user_attr(ERROR, error)
            self._study.tell(number, state=TrialState.FAIL)

    def entries(self) -> list[Entry]:
        """Everything asked for so far, in order."""
        with _told(self.name):
            found: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return [self._read(one) for one in found if REQUEST in one.user_attrs]

    def _read(self, trial: FrozenTrial) -> Entry:
        """What has ended stays as it is."""
        known = self._ended.get(trial.number)
        if known is not None:
            return known
        entry = _entry(trial)
        if trial.state.is_finished():
            self._ended[trial.number] = entry
        return entry

    def mend(self, worker: str) -> None:
        """Says the last word of trials that were paid for when this worker was killed."""
        with _told(self.name):
            for one in self._study.get_trials(states=(TrialState.RUNNING,)):
                if one.user_attrs.get(ASKED, {}).get("worker") != worker:
                    continue
                if EVALUATION in one.user_attrs:
                    self._settle(one.number, _entry(one))
                elif ERROR in one.user_attrs:
                    self._study.tell(one.number, state=TrialState.FAIL)

    def _settle(self, number: int, entry: Entry) -> None:
        assert entry.evaluation is not None
        outcome, goal = entry.evaluation.outcome, self.brief.goal
        trial = self._trial(number)
        for column, excess in enumerate(goal.excess(costs([outcome]))[0]):
            if getattr(goal.limits, COSTS[column]) is not None:
                trial.set_constraint(COSTS[column], float(excess))
        values = self.brief.values(entry.request.pair.place, outcome)
        if values is None:
            self._study.tell(number, state=NO_VALUE)
        else:
            self._study.tell(number, values)

    def _trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, self._id_of(number))

    def _id_of(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))


def names_in(url: str) -> list[str]:
    """The searches that a storage holds. Raises UsageError when it cannot be reached."""
    storage = _storage(url)
    with _told(url):
        found = optuna.get_all_study_summaries(storage, include_best_trial=False)
    return [one.study_name for one in found if BRIEF in one.user_attrs]


def shown(url: str) -> str:
    """Without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def _entry(trial: FrozenTrial) -> Entry:
    kept = trial.user_attrs
    evaluation = evaluation_from_json(kept[EVALUATION]) if EVALUATION in kept else None
    assert trial.datetime_start is not None
    return Entry(
        number=trial.number,
        request=request_from_json(kept[REQUEST]),
        asked=Asked(**kept[ASKED]),
        evaluation=evaluation,
        error=kept.get(ERROR, ""),
        started=trial.datetime_start,
        ended=trial.datetime_complete,
    )


def _storage(url: str) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with _told(url):
        for _ in range(MAKING_TRIES):
            try:
                return optuna.storages.RDBStorage(url)
            except (IntegrityError, ProgrammingError, OperationalError) as exc:
                if not (isinstance(exc, IntegrityError) or "already exists" in str(exc)):
                    raise
                time.sleep(MAKING_S)  # another process is making the tables of a new database
        return optuna.storages.RDBStorage(url)


def _sampler() -> optuna.samplers.BaseSampler:
    """None is asked; the one that remembers nothing."""
    return optuna.samplers.RandomSampler()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of databases and their drivers, as the user's."""
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        raise UsageError(f"{shown(what)} is no storage that can be used: {exc}", hint=URLS) from exc
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as exc:
        cause = str(exc.__cause__ or exc).splitlines()[0]
        raise UsageError(
            f"the storage {shown(what)} does not answer: {cause}",
            hint="check it, then give the same command again; it continues",
        ) from exc


def _other(url: str, name: str) -> UsageError:
    return UsageError(
        f"{shown(url)} holds another search under the name {name}",
        hint="choose another --study or --storage, or give the command that began it",
    )
