"""What serves under which name, kept in one file that changes by a rename."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from edgetran_protos.bundle import MALFORMED, canonical_json
from edgetran_protos.errors import BoardError
from edgetran_protos.plain import build

from edgetran_daemon.faults import point
from edgetran_daemon.store.blobs import sync_folder
from edgetran_daemon.store.room import room

SCHEMA = 1
HISTORY_LIMIT = 200  # records; older ones are dropped
REASON_LIMIT = 500  # characters

SERVING, PREVIOUS, FAILED, ROLLED_BACK = "serving", "previous", "failed", "rolled-back"
COMMITTED = "committed"  # in the history only: a watch that ended well
UNLOADED = "unloaded"  # deployed, but not served until it is loaded again


ON_WATCH = "on watch, not committed yet"


@dataclass(frozen=True)
class Slot:
    """One bundle in one variant, serving or ready to serve again."""

    bundle_digest: str
    variant: str
    since_unix_s: float
    artefact_bytes: int
    task: str
    chosen: str = ""  # the figures that the board chose the variant by; empty: it was told
    signed_by: str = ""  # whom the board trusted when it was deployed; empty: nobody

    def at(self, since_unix_s: float) -> Slot:
        return replace(self, since_unix_s=since_unix_s)


@dataclass(frozen=True)
class Trial:
    """What a new current is held to until it is committed."""

    sequence: int = 0  # of its bundle; committed, nothing older may follow
    p99_s: Optional[float] = None  # None: no promise that can be checked


@dataclass(frozen=True)
class Names:
    """The two slots of one model name; whatever changes the slots also loads."""

    current: Slot
    previous: Optional[Slot]
    loaded: bool = True
    trial: Optional[Trial] = None  # None: the current is committed
    late: bool = False  # it may have ended the daemon: loaded only after all others serve

    def slots(self) -> list[Slot]:
        return [self.current, *([self.previous] if self.previous else [])]


@dataclass(frozen=True)
class Record:
    """One line of what a model name did."""

    model: str
    bundle_digest: str
    variant: str
    state: str
    reason: str
    since_unix_s: float
    artefact_bytes: int = 0
    task: str = ""
    signed_by: str = ""

    @staticmethod
    def of(model: str, slot: Slot, state: str, reason: str = "") -> Record:
        """What serves, or may again, also tells the figures that its variant was chosen by."""
        known = {name: value for name, value in asdict(slot).items() if name != "chosen"}
        chosen = slot.chosen if state in (SERVING, PREVIOUS) else ""
        told = "; ".join(part for part in (reason, chosen) if part)
        return Record(model=model, state=state, reason=told, **known)

    @staticmethod
    def failed(model: str, digest: str, variant: str, reason: str, now_unix_s: float) -> Record:
        """A client chose the words, so they are cut to a line."""
        return Record(
            model, digest, variant[:REASON_LIMIT], FAILED, reason[:REASON_LIMIT], now_unix_s
        )


class Ledger:
    """Every change is on disk before the method returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, Names] = {}
        self._history: list[Record] = []
        self._floors: dict[str, int] = {}
        self._starts = 0
        partial_of(path).unlink(missing_ok=True)  # of a daemon that was killed while it wrote
        if path.exists():
            self._load()

    def models(self) -> list[str]:
        return sorted(self._names)

    @property
    def starts(self) -> int:
        """Starts of the daemon in a row that did not last, this one included."""
        return self._starts

    def floor(self, model: str) -> int:
        """The largest sequence that was committed under a name, removed or not; 0: none."""
        return self._floors.get(model, 0)

    def find(self, model: str) -> Optional[Names]:
        return self._names.get(model)

    def digests(self) -> set[str]:
        return {slot.bundle_digest for names in self._names.values() for slot in names.slots()}

    def records(self, history: bool) -> list[Record]:
        """What serves; with history also the slot before it and all that ended, oldest first."""
        now = [
            Record.of(
                model,
                names.current,
                SERVING if names.loaded else UNLOADED,
                ON_WATCH if names.trial else "",
            )
            for model, names in sorted(self._names.items())
        ]
        if not history:
            return now
        before = [
            Record.of(model, names.previous, PREVIOUS)
            for model, names in sorted(self._names.items())
            if names.previous
        ]
        return [*now, *before, *self._history]

    def switch(
        self,
        model: str,
        slot: Slot,
        trial: Optional[Trial] = None,
        *,
        committed_sequence: int = 0,
    ) -> None:
        """A new current; the last that was committed is kept to go back to.

        committed_sequence: of one that serves without a trial.
        """
        old = self._names.get(model)
        previous = old.current if old else None
        if old and _same(old.current, slot):
            previous = old.previous  # deployed again: what came before stays
            trial = trial if old.trial else None
        elif old and old.trial and old.previous:
            previous = old.previous  # the current one has not proven itself
        names = {**self._names, model: Names(slot, previous, trial=trial)}
        self._commit(names, self._history, self._raised(model, committed_sequence))

    def commit(self, model: str, reason: str, now_unix_s: float) -> None:
        """The trial of the current ended; `reason` says how."""
        names = self._names[model]
        record = Record.of(model, names.current.at(now_unix_s), COMMITTED, reason)
        self._commit(
            {**self._names, model: replace(names, trial=None)},
            [*self._history, record],
            self._raised(model, names.trial.sequence if names.trial else 0),
        )

    def _raised(self, model: str, sequence: int) -> Mapping[str, int]:
        """The floors once a sequence is committed."""
        return {**self._floors, model: sequence} if sequence > self.floor(model) else self._floors

    def count_start(self) -> None:
        self._starts += 1
        self._commit(self._names, self._history)

    def steady(self) -> None:
        """This start lasted."""
        names = {model: replace(entry, late=False) for model, entry in self._names.items()}
        if self._starts or names != self._names:
            self._starts = 0
            self._commit(names, self._history)

    def blame(self, model: str) -> None:
        """The starts that did not last are laid at a model's door."""
        self._starts = 0
        late = replace(self._names[model], late=True)
        self._commit({**self._names, model: late}, self._history)

    def roll_back(self, model: str, slot: Slot, reason: str, now_unix_s: float) -> None:
        left = self._names[model].current.at(now_unix_s)
        record = Record.of(model, left, ROLLED_BACK, reason)
        self._commit({**self._names, model: Names(slot, None)}, [*self._history, record])

    def fall_back(self, model: str, slot: Slot, failed: Record) -> None:
        self._commit({**self._names, model: Names(slot, None)}, [*self._history, failed])

    def set_loaded(self, model: str, loaded: bool) -> None:
        if self._names[model].loaded != loaded:
            changed = replace(self._names[model], loaded=loaded)
            self._commit({**self._names, model: changed}, self._history)

    def remove(self, model: str, now_unix_s: float) -> None:
        gone = self._names[model].current.at(now_unix_s)
        rest = {name: names for name, names in self._names.items() if name != model}
        self._commit(rest, [*self._history, Record.of(model, gone, "removed")])

    def add(self, record: Record) -> None:
        self._commit(self._names, [*self._history, record])

    def _commit(
        self,
        names: Mapping[str, Names],
        history: list[Record],
        floors: Optional[Mapping[str, int]] = None,
    ) -> None:
        """floors: None where they stay. What cannot be written changes nothing."""
        history, floors = history[-HISTORY_LIMIT:], self._floors if floors is None else floors
        raw = {
            "schema": SCHEMA,
            "models": {model: asdict(entry) for model, entry in names.items()},
            "history": [asdict(record) for record in history],
            "floors": dict(floors),
            "starts": self._starts,
        }
        with room(str(self._path)):
            write_atomically(self._path, canonical_json(raw), "ledger")
        self._names, self._history, self._floors = dict(names), history, dict(floors)

    def _load(self) -> None:
        try:
            raw: dict[str, Any] = json.loads(self._path.read_bytes())
            if raw["schema"] > SCHEMA:
                raise BoardError(
                    f"{self._path} was written by a newer edgetran",
                    hint="upgrade edgetran-daemon, or choose another --state",
                )
            self._names = {model: _names(entry) for model, entry in raw["models"].items()}
            self._history = [build(Record, record, "history") for record in raw["history"]]
            self._floors = {model: int(n) for model, n in raw.get("floors", {}).items()}
            self._starts = int(raw.get("starts", 0))
        except MALFORMED as exc:
            reason = f"it lacks {exc}" if isinstance(exc, KeyError) else exc
            raise BoardError(
                f"{self._path} cannot be read: {reason}", hint="move it away and deploy again"
            ) from exc


def _names(raw: Mapping[str, Any]) -> Names:
    previous = build(Slot, raw["previous"], "previous") if raw["previous"] else None
    trial = build(Trial, raw["trial"], "trial") if raw.get("trial") else None
    loaded, late = bool(raw.get("loaded", True)), bool(raw.get("late", False))
    return Names(build(Slot, raw["current"], "current"), previous, loaded, trial, late)


def _same(left: Slot, right: Slot) -> bool:
    return (left.bundle_digest, left.variant) == (right.bundle_digest, right.variant)


def partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def write_atomically(path: Path, data: bytes, what: str) -> None:
    """The old content or the new one, whatever happens in between; `what` names the faults."""
    partial = partial_of(path)
    try:
        with partial.open("wb") as file:
            point(f"{what}-opened")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        point(f"{what}-synced")
        os.replace(partial, path)
        point(f"{what}-renamed")
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    point(f"{what}-kept")
