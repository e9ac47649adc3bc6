"""A search's run as it is read: the request, every trial, and the result if there is one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.fidelities import Fidelities, Seen
from edgetran_host.cosearch.history import Entry, History
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.outputs import Describer, OutputModels
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.searching import REQUEST
from edgetran_host.cosearch.standing import SEARCH, leading_front, ranked
from edgetran_host.job.run_directory import read_json

STUDY = "search.db"
LEAST_TRIALS = 6  # scored, before models say anything


@dataclass(frozen=True)
class Searched:
    name: str
    brief: Brief
    entries: tuple[Entry, ...]  # finalists' evaluations too
    result: dict[str, Any] | None  # None: it has not ended

    @cached_property
    def tried(self) -> list[Entry]:
        """What was evaluated while searching, in order."""
        return [one for one in self.entries if one.asked.role == SEARCH and one.evaluation]

    @cached_property
    def ranked(self) -> list[Entry]:
        """Those that keep every limit, the best first."""
        return ranked(self.brief, self.tried)

    @cached_property
    def front(self) -> list[Entry]:
        return leading_front(self.brief, self.tried)

    @property
    def assumed(self) -> bool:
        """Whether an oracle answered."""
        return bool(self.brief.request.get("oracle"))

    @cached_property
    def trials(self) -> list[Trial]:
        """One a pair, as a designer knows them; finalists' evaluations count."""
        seen = [Seen(one.request, one.evaluation) for one in self.entries if one.evaluation]
        return Fidelities(seen).trials(seen)

    @property
    def chosen(self) -> Entry | None:
        """The result's, else the best so far."""
        numbers = [one["trial"] for one in (self.result or {}).get("chosen", [])]
        return self.entry(numbers[0]) if numbers else next(iter(self.ranked), None)

    def entry(self, number: int) -> Entry:
        """Raises UsageError for a trial that is not there or gave nothing."""
        found = next((one for one in self.entries if one.number == number), None)
        if found is None or found.evaluation is None:
            why = f"failed: {found.error}" if found and found.error else "gave nothing (yet)"
            raise UsageError(
                f"trial {number} {'is not there' if found is None else why}",
                hint=f"trials go from 0 to {max((one.number for one in self.entries), default=0)}",
            )
        return found

    def again(self, pair: Pair) -> list[Entry]:
        """Evaluations of a finalist, which did not choose it."""
        return [
            one
            for one in self.entries
            if one.asked.role != SEARCH and one.request.pair == pair and one.evaluation
        ]

    def load_oracle(self, path: Path) -> Oracle:
        """Raises UsageError when it is not the one that was searched."""
        kept = self.brief.request.get("oracle") or {}
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != kept.get(
            "sha256"
        ):
            raise UsageError(
                f"{path} is not the oracle that {self.name} was made on",
                hint=f"give its {kept['name']}" if kept else "leave --oracle out",
            )
        return Oracle.load(path)

    def models(self, without: Pair | None = None) -> OutputModels | None:
        """Of all trials but those of a pair. None: too few have a score."""
        trials = [one for one in self.trials if one.pair != without]
        if sum(one.outcome.score is not None for one in trials) < LEAST_TRIALS:
            return None
        product = self.brief.product
        return OutputModels(Describer(product.space, product.places), trials, self.brief.goal)


def is_search(path: Path) -> bool:
    return (path / REQUEST).exists()


def read_search(path: Path, storage: str = "") -> Searched:
    """storage: where the study lies, when its address has a password; empty: as the run says.

    Raises UsageError when there is no search at `path`.
    """
    if not is_search(path):
        raise UsageError(f"no search at {path}", hint="`edgetran runs list` names them")
    kept = read_kept(path)
    url = storage or kept["storage"]
    if not url:
        if not (path / STUDY).exists():
            raise UsageError(f"{path} has no trials yet", hint="give the same search again")
        url = f"sqlite:///{quote(str(path))}/{STUDY}"
    history = History.open(url, kept["study"])
    result = path / "result.json"
    found = read_json(result) if result.exists() else None
    return Searched(path.name, history.brief, tuple(history.entries()), found)


def read_kept(path: Path) -> dict[str, Any]:
    """The request of the search at `path`, and where its study lies. Raises UsageError."""
    kept = read_json(path / REQUEST)
    if missing := {"request", "study", "storage"} - set(kept):
        raise UsageError(
            f"{path / REQUEST} lacks {', '.join(sorted(missing))}",
            hint="it is no search's; name another folder",
        )
    return kept
