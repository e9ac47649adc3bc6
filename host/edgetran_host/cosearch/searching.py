"""One search from its request to its result: opens the world, the study and the run's folder.

The folder holds

    search.json   the request, the study's name, where it lies (null: search.db beside it)
    search.db     the study, unless it lies elsewhere
    clock.json    seconds of all starts so far
    result.json   what was found
    work          weights, bundles and what was paid for
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgetran_protos.errors import BudgetError, UsageError

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import Evaluator
from edgetran_host.cosearch.finalists import FINALIST, Confirmed, Repeats, confirm, rounds
from edgetran_host.cosearch.goal import COSTS, Goal
from edgetran_host.cosearch.history import Entry, History, names_in, shown
from edgetran_host.cosearch.inheriting import FROM_THE_SEED, Inheriting
from edgetran_host.cosearch.methods import Choice, check_method, make_designer
from edgetran_host.cosearch.objective_words import parse_objective
from edgetran_host.cosearch.result import search_result
from edgetran_host.cosearch.running import Conduct, Running
from edgetran_host.cosearch.search_config import SearchConfig
from edgetran_host.cosearch.standing import (
    FINALISTS,
    SEARCH,
    Budget,
    OnStanding,
    Standing,
    ignore_standing,
)
from edgetran_host.job.run_directory import (
    RunDirectory,
    check_kind,
    read_json,
    write_atomically,
)

RUNS = Path("runs")
REQUEST = "search.json"
KEEP_S = 2.0  # between writings of the clock
SHORT, FULL = "short", "full"
WORDS = dict(zip(COSTS, ("latency", "energy", "power", "size")))
World = Callable[[SearchConfig], AbstractContextManager[Evaluator]]


@dataclass(frozen=True)
class Means:
    """How a search is paid for and where it is kept; no part of what is asked."""

    budget: Budget
    path: Path | None = None  # of the run; None: runs/<name>
    storage: str = ""  # empty: a file in the run's folder
    study: str = ""  # empty: the request's name
    parallel: int = 1
    repeats: Repeats = field(default_factory=Repeats)


def run_path(config: SearchConfig, means: Means) -> Path:
    return means.path or RUNS / config.name()


def storage_url(config: SearchConfig, means: Means) -> str:
    """Of the study, and of what was paid for."""
    return means.storage or f"sqlite:///{quote(str(run_path(config, means).resolve()))}/search.db"


def run_search(
    config: SearchConfig,
    means: Means,
    world: World,
    on_standing: OnStanding = ignore_standing,
) -> dict[str, Any]:
    """Runs or continues it; the result says which limits block it when nothing is feasible."""
    check(config)
    check_kind(run_path(config, means), REQUEST)
    with world(config) as evaluator, _opened(config, means, evaluator) as (run, history):
        found = _searched(config, means, evaluator, run, history, on_standing)
    run.write_result(found)
    return found


def check(config: SearchConfig) -> None:
    """What can be told without any board. Raises UsageError."""
    parse_objective(config.objective)
    check_method(_choice(config, None))


def _choice(config: SearchConfig, trainings: float | None) -> Choice:
    """trainings: the budget of them; where there is one, what they cost is minded."""
    inheriting = Inheriting() if config.oracle is not None else FROM_THE_SEED
    return Choice(
        config.method,
        config.alpha,
        config.beta,
        config.random_seed,
        None if trainings is None else inheriting,
        trainings,
    )


def _searched(
    config: SearchConfig,
    means: Means,
    evaluator: Evaluator,
    run: RunDirectory,
    history: History,
    on_standing: OnStanding,
) -> dict[str, Any]:
    worker, clock = f"{platform.node()}:{run.path.resolve()}", _Clock(run.path)

    def hear(standing: Standing) -> None:
        clock.keep(standing.elapsed_s)
        on_standing(standing)

    running = Running(
        evaluator,
        make_designer(_choice(config, means.budget.trainings), history.brief),
        history,
        means.budget,
        _conduct(config, means, worker),
        hear,
        clock.seconds,
    )
    stopped = running.run()
    entries = [one for one in history.entries() if one.asked.role == SEARCH]
    confirmed: list[Confirmed] = []
    for chosen in rounds(history.brief, entries, means.repeats.count):
        total = len(chosen) * means.repeats.seeds
        numbers = {one.request.pair.id for one in chosen}

        def again(found: Sequence[Entry], wanted: set[str] = numbers, total: int = total) -> None:
            own = [one for one in found if one.asked.role == FINALIST]
            own = [one for one in own if one.request.pair.id in wanted]
            hear(
                Standing(
                    history.brief, means.budget, FINALISTS, tuple(own), running.elapsed_s, total
                )
            )

        confirmed += confirm(
            evaluator, history, chosen, means.repeats, worker, means.parallel, again
        )
        if any(one.kept for one in confirmed):
            break
    clock.keep(running.elapsed_s, at_once=True)
    return search_result(history, run.path, config, stopped, confirmed, running.elapsed_s)


def _conduct(config: SearchConfig, means: Means, worker: str) -> Conduct:
    assumed = config.oracle is not None
    return Conduct(
        worker=worker,
        parallel=means.parallel,
        fidelity=config.fidelity or (FULL if assumed else SHORT),
        promote=config.promote,
        charge=Inheriting() if assumed else None,
    )


@contextlib.contextmanager
def _opened(
    config: SearchConfig, means: Means, evaluator: Evaluator
) -> Iterator[tuple[RunDirectory, History]]:
    """The run's folder, which is this process's own, and the study."""
    path = run_path(config, means)
    path.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(path)
    with run.locked():
        study = means.study or config.name()
        kept = {
            "request": config.request(),
            "study": study,
            "storage": shown(means.storage) or None,
        }
        file = path / REQUEST
        if file.exists() and read_json(file).get("request") != kept["request"]:
            raise UsageError(
                f"{path} holds another search", hint="choose another --run or remove that folder"
            )
        history = _history(config, storage_url(config, means), study, evaluator)
        write_atomically(file, json.dumps(kept, indent=1, default=str).encode())
        yield run, history


def _history(config: SearchConfig, url: str, study: str, evaluator: Evaluator) -> History:
    """References are asked for once a search: the study keeps them."""
    weights, scale, whole_front = parse_objective(config.objective)
    references = (
        History.open(url, study).brief.goal.references
        if study in names_in(url)
        else evaluator.references()
    )
    goal = Goal(references, scale, weights, config.limits)
    check_limits(goal)
    return History.create(url, study, Brief(config.request(), evaluator.product, goal, whole_front))


def check_limits(goal: Goal) -> None:
    """Raises BudgetError for a limit on what a board does not give: it could not be kept."""
    for name, word in WORDS.items():
        if getattr(goal.limits, name) is None:
            continue
        blind = [p.id for p, one in goal.references.items() if getattr(one, name) is None]
        if blind:
            raise BudgetError(
                f"{', '.join(blind)} gives no {word}, so a limit on it cannot be kept there",
                hint=f"leave out --max-{word}, or that board",
            )


class _Clock:
    """Seconds of all starts of a search together."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clock.json"
        self.seconds = json.loads(self._path.read_text()) if self._path.exists() else 0.0

    def keep(self, seconds: float, at_once: bool = False) -> None:
        if at_once or seconds - self.seconds > KEEP_S:
            self.seconds = seconds
            write_atomically(self._path, json.dumps(seconds).encode())
