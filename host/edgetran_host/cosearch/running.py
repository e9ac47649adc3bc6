"""The loop of a search: suggest, evaluate side by side, write down, tell; killed at any moment.

A window of `parallel` pairs slides over the turns: turn n is suggested once turn n - parallel
was told, and trials are told in the order of their turns, whichever ends first. So what is
suggested does not follow from how long evaluations take, and a search that was killed and
started again goes through the same states: what is written down is told in its turn, what was
under way is evaluated again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from edgetran_protos.errors import BoardError

from edgetran_host.accuracy.screening import predictor_of, worthwhile
from edgetran_host.cosearch.designer import Designer
from edgetran_host.cosearch.evaluating import Evaluating
from edgetran_host.cosearch.evaluator import Evaluator, Request
from edgetran_host.cosearch.features import ArchitectureFeatures
from edgetran_host.cosearch.fidelities import Fidelities, Seen
from edgetran_host.cosearch.history import Asked, Entry, History
from edgetran_host.cosearch.inheriting import Inheriting
from edgetran_host.cosearch.promoting import pairs_of, promotions, seen_draws
from edgetran_host.cosearch.standing import (
    SEARCH,
    Budget,
    OnStanding,
    Standing,
    ignore_standing,
)

PROMOTED = "it may be the best: a longer training"  # why a pair is asked for again
FAILURES = 5  # in a row, after which it is not the pairs that are at fault


@dataclass(frozen=True)
class Conduct:
    """How a search is carried out. `parallel` belongs to what makes two searches alike."""

    worker: str
    parallel: int = 1
    fidelity: str = "full"  # of a pair's first evaluation
    promote: bool = False  # gives the likeliest best the next longer training
    charge: Inheriting | None = None  # what trainings cost, where the evaluator cannot tell


class Running:
    def __init__(
        self,
        evaluator: Evaluator,
        designer: Designer,
        history: History,
        budget: Budget,
        conduct: Conduct,
        on_standing: OnStanding = ignore_standing,
        elapsed_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """designer: a new one. elapsed_s: what earlier starts of this search took."""
        self._designer = designer
        self._history = history
        self._budget = budget
        self._conduct = conduct
        self._on_standing = on_standing
        self._evaluating = Evaluating(evaluator, history)
        self._clock = clock
        self._began_s = clock() - elapsed_s
        self._told: list[int] = []  # numbers of own trials, in turn
        self._heard: set[int] = set()  # of trials of other workers
        self._started: set[int] = set()
        self._known: list[Entry] = []  # that the designer knows, as it was told them
        self._failures = 0  # in a row
        self._entries: list[Entry] = []

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._began_s

    def run(self) -> str:
        """Why it ended: "evaluations", "trainings", "time" or "space".

        Raises BoardError when pair after pair fails.
        """
        self._history.mend(self._conduct.worker)
        stopped = ""
        while True:
            self._read()
            while not stopped and len(self._own()) - len(self._told) < self._conduct.parallel:
                stopped = self._spent() or self._suggest()
            waiting = self._own()[len(self._told) :]
            if not waiting:
                return stopped
            for entry in waiting[: self._conduct.parallel]:
                self._start(entry)
            self._await(waiting[0].number)

    def _own(self) -> list[Entry]:
        """In turn."""
        own = [one for one in self._entries if one.asked.worker == self._conduct.worker]
        return sorted(own, key=lambda one: one.asked.turn)

    def _read(self) -> None:
        self._entries = [one for one in self._history.entries() if one.asked.role == SEARCH]
        self._on_standing(
            Standing(
                self._history.brief,
                self._budget,
                SEARCH,
                tuple(self._entries),
                self.elapsed_s,
                self._budget.evaluations,
            )
        )

    def _suggest(self) -> str:
        """Asks for one more; "space": there is none."""
        began_s = self._clock()
        self._hear()
        request = self._promotion() or self._new()
        if request is None:
            return "space"
        cost = None
        if self._conduct.charge is not None:
            cost = float(self._conduct.charge([request.pair], self._designer.trials)[0])
        turn = len(self._own())
        suggesting_s = self._clock() - began_s
        reason = self._designer.reason if request.fidelity == self._conduct.fidelity else PROMOTED
        asked = Asked(self._conduct.worker, turn, SEARCH, suggesting_s, cost, reason)
        self._history.ask(request, asked)
        self._read()
        return ""

    def _new(self) -> Request | None:
        own = self._own()[len(self._told) :]
        others = [one for one in self._entries if one.pending and one not in own]
        self._designer.pending = [one.request.pair for one in (*own, *others)]
        found = self._designer.suggest(1)
        return Request(found[0], self._conduct.fidelity) if found else None

    def _promotion(self) -> Request | None:
        """A longer training for a pair that may well be the best; none is asked for twice.

        Where scores can be foretold, none that would need more than its interval to be the best.
        """
        seen = self._seen()
        if not self._conduct.promote or not pairs_of(seen):
            return None
        draws = self._designer.draws(pairs_of(seen))
        if draws is None:
            draws = seen_draws(seen, self._history.brief.goal, np.random.default_rng(len(seen)))
        asked = {(one.request.pair.id, one.request.fidelity) for one in self._entries}
        wanted = promotions(seen, draws, most=len(seen))
        wanted = [one for one in wanted if (one.pair.id, one.fidelity) not in asked]
        if not wanted:
            return None
        predictor = predictor_of(self._features(), seen)
        left = worthwhile(wanted, seen, self._history.brief.goal, predictor)
        return next(iter(left), None)

    @lru_cache(maxsize=1)  # noqa: B019  (one loop a search)
    def _features(self) -> ArchitectureFeatures:
        return ArchitectureFeatures(self._history.brief.product.space)

    def _start(self, entry: Entry) -> None:
        if entry.pending and entry.number not in self._started:
            self._started.add(entry.number)
            self._evaluating.start(entry.number, entry.request, entry.asked.training_cost)

    def _await(self, number: int) -> None:
        """Until that trial has ended; then the designer is told."""
        while (entry := self._entry(number)).pending:
            if self._evaluating.collect():
                self._read()
        self._told.append(number)
        if entry.error:
            self._designer.give_up(entry.request.pair)
            self._failures += number in self._started
            if self._failures >= FAILURES:
                raise BoardError(
                    f"{FAILURES} evaluations in a row failed, the last one with {entry.error}",
                    hint="mend what they lack, then give the same command again; it continues",
                )
            return
        self._failures = 0
        self._tell([entry])

    def _hear(self) -> None:
        """What other workers found meanwhile."""
        for one in self._entries:
            new = one.asked.worker != self._conduct.worker and one.number not in self._heard
            if new and not one.pending:
                self._heard.add(one.number)
                if one.error:
                    self._designer.give_up(one.request.pair)
                else:
                    self._tell([one])

    def _tell(self, entries: list[Entry]) -> None:
        self._known += entries
        if not self._conduct.promote:
            self._designer.update([one.trial for one in entries])
            return
        seen = self._seen()
        self._designer.retell(Fidelities(seen).trials(seen))

    def _seen(self) -> list[Seen]:
        return [Seen(one.request, one.evaluation) for one in self._known if one.evaluation]

    def _spent(self) -> str:
        """Which budget is; what is under way counts as what it is likely to cost."""
        budget = self._budget
        if len(self._entries) >= budget.evaluations:
            return "evaluations"
        if budget.trainings is not None and self._likely_trainings() >= budget.trainings:
            return "trainings"
        if budget.seconds is not None and self.elapsed_s >= budget.seconds:
            return "time"
        return ""

    def _likely_trainings(self) -> float:
        paid = [one.training_cost for one in self._designer.trials]
        usual = float(np.mean(paid)) if paid else 1.0
        told = set(self._told) | self._heard
        open_ = [one.asked.training_cost for one in self._entries if one.number not in told]
        return sum(paid) + sum(usual if cost is None else cost for cost in open_)

    def _entry(self, number: int) -> Entry:
        return next(one for one in self._entries if one.number == number)
