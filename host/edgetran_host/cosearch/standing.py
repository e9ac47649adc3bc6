"""How a search stands: what it tried, what it may still pay for, what leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.evaluator import FIDELITIES
from edgetran_host.cosearch.front import front, objectives
from edgetran_host.cosearch.history import Entry
from edgetran_host.cosearch.outcome import Outcome

SEARCH, FINALISTS = "search", "finalists"


@dataclass(frozen=True)
class Budget:
    """None: no such limit. A search ends with the first that is spent."""

    evaluations: int
    trainings: float | None = None  # in full ones
    seconds: float | None = None


@dataclass(frozen=True)
class Standing:
    """`entries` are those of the stage; the clock counts all starts of the search together."""

    brief: Brief
    budget: Budget
    stage: str
    entries: tuple[Entry, ...]
    elapsed_s: float
    total: int = 0  # of the stage's evaluations; 0: unknown

    @property
    def ended(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.pending]

    @property
    def failed(self) -> int:
        return sum(bool(entry.error) for entry in self.entries)

    @property
    def trainings(self) -> float:
        """Paid for so far, in full ones."""
        return sum(one.evaluation.training_cost for one in self.entries if one.evaluation)

    @property
    def busy(self) -> Counter[str]:
        """Evaluations under way, by place."""
        return Counter(one.request.pair.place.id for one in self.entries if one.pending)


OnStanding = Callable[[Standing], None]


def ignore_standing(standing: Standing) -> None:
    """Listens to nothing."""


def outcome_of(entry: Entry) -> Outcome:
    assert entry.evaluation is not None
    return entry.evaluation.outcome


def sources_of(entry: Entry) -> Mapping[str, str]:
    """Of each figure, how it came to be; none, where the entry gave nothing."""
    return {} if entry.evaluation is None else entry.evaluation.sources


def value_of(brief: Brief, entry: Entry) -> float:
    return brief.goal.value(entry.request.pair.place, outcome_of(entry))


def ranked(brief: Brief, entries: Sequence[Entry]) -> list[Entry]:
    """Those with a score that keep every limit, the best value first; a pair once.

    Of a pair that was trained more than once the longest training counts.
    """
    latest: dict[str, Entry] = {}
    for entry in entries:
        if entry.evaluation is None or outcome_of(entry).score is None:
            continue
        known = latest.get(entry.request.pair.id)
        if known is None or _rung(entry) >= _rung(known):
            latest[entry.request.pair.id] = entry
    kept = [one for one in latest.values() if brief.goal.keeps(outcome_of(one))]
    return sorted(kept, key=lambda one: (-value_of(brief, one), one.number))


def leading_front(brief: Brief, entries: Sequence[Entry]) -> list[Entry]:
    """Of `ranked`, those that no other beats; figures decide that all of a board's pairs give.

    Boards that give other figures (one has no power sensor, say) are not compared.
    """
    found = ranked(brief, entries)
    points = [objectives(outcome_of(one)) for one in found]
    alike: dict[tuple[bool, ...], list[int]] = {}
    for at, point in enumerate(points):
        alike.setdefault(tuple(np.isfinite(point).tolist()), []).append(at)
    kept: list[int] = []
    for known, members in alike.items():
        chosen = np.array([points[at] for at in members])[:, known]
        kept += [members[at] for at in front(chosen)]
    return [found[at] for at in sorted(kept)]


def _rung(entry: Entry) -> int:
    return FIDELITIES.index(entry.request.fidelity)
