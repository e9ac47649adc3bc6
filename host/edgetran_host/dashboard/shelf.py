"""Runs and records of a folder: what each is, how far it came, and a stamp that changes with it."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.errors import EdgeTranError

from edgetran_host.job.running import described as described_job
from edgetran_host.measuring.figures import title
from edgetran_host.measuring.record_directory import DOCUMENT, UNFINISHED

JOB, SEARCH, REFINEMENT, RECORD, FLEET = "job", "search", "refinement", "record", "fleet"
FINISHED, UNDER_WAY = "finished", "under way"
REFINE = "refine"  # below a job's run
TREE = "tree.json"  # refine.tree's, which loads torch
WATCHED = (  # files of a run that change while it goes on
    *("config.json", "result.json", "search.json", "search.db*", "stages/*.json"),
    *("search/study.db*", f"tree/{TREE}"),
)
RECORD_DEPTHS = ("*", "*/*", "*/*/*")  # a campaign keeps its records by board and design
MOST_RECORDS = 500  # the newest
UNREADABLE = (EdgeTranError, OSError, ValueError, KeyError, TypeError, AttributeError)


Read = Callable[[Path], tuple[str, str]]  # state, about


@dataclass(frozen=True)
class Entry:
    name: str  # its path below the folder; of a fleet its file's
    kind: str
    state: str
    about: str
    stamp: str  # another one when its page would say something else
    changed_unix_s: float


class Shelf:
    """Reads only what changed since it was last asked."""

    def __init__(self, runs: Path, records: Path, fleets: Sequence[Path] = ()) -> None:
        """fleets: their fleet.toml."""
        self._runs = runs
        self._records = records
        self._fleets = {str(path).lstrip("/"): path for path in fleets}
        self._known: dict[Path, Entry] = {}
        self.runs: tuple[Entry, ...] = ()  # the newest first
        self.records: tuple[Entry, ...] = ()
        self.fleets: tuple[Entry, ...] = ()

    def refresh(self) -> None:
        before, self._known = self._known, {}
        self.runs = self._sorted(self._found_runs(before))
        self.records = self._sorted(self._found_records(before))
        self.fleets = tuple(
            self._entry(before, name, path, FLEET, _fleet) for name, path in self._fleets.items()
        )

    def find(self, kind: str, name: str) -> tuple[Entry, Path] | None:
        """By a name that the last refresh saw; a name is never taken for a path."""
        entries = {RECORD: self.records, FLEET: self.fleets}.get(kind, self.runs)
        found = next((entry for entry in entries if entry.name == name), None)
        if found is None:
            return None
        if kind == FLEET:
            return found, self._fleets[name]
        return found, (self._records if kind == RECORD else self._runs) / name

    def _found_runs(self, before: Mapping[Path, Entry]) -> Iterator[Entry]:
        for file in self._runs.glob("*/search.json"):
            yield self._in(self._runs, before, file.parent, SEARCH, _search)
        for file in self._runs.glob("*/config.json"):
            yield self._in(self._runs, before, file.parent, JOB, _job)
        for folder in self._runs.glob(f"*/{REFINE}"):
            yield self._in(self._runs, before, folder, REFINEMENT, _refinement)

    def _found_records(self, before: Mapping[Path, Entry]) -> Iterator[Entry]:
        files = [
            file
            for depth in RECORD_DEPTHS
            for name in (DOCUMENT, UNFINISHED)
            for file in self._records.glob(f"{depth}/{name}")
        ]
        for file in sorted(files, key=_changed, reverse=True)[:MOST_RECORDS]:
            yield self._in(self._records, before, file.parent, RECORD, _record)

    def _in(
        self, folder: Path, before: Mapping[Path, Entry], path: Path, kind: str, read: Read
    ) -> Entry:
        return self._entry(before, str(path.relative_to(folder)), path, kind, read)

    def _entry(
        self, before: Mapping[Path, Entry], name: str, path: Path, kind: str, read: Read
    ) -> Entry:
        stamp, changed = _stamp(path)
        known = before.get(path)
        if known is None or known.stamp != stamp:
            try:
                state, about = read(path)
            except UNREADABLE as error:
                state, about = "cannot be read", f"{type(error).__name__}: {error}"
            known = Entry(name, kind, state, about, stamp, changed)
        self._known[path] = known
        return known

    @staticmethod
    def _sorted(entries: Iterator[Entry]) -> tuple[Entry, ...]:
        return tuple(sorted(entries, key=lambda entry: (-entry.changed_unix_s, entry.name)))


def _stamp(path: Path) -> tuple[str, float]:
    """Of the names, sizes and times of what is watched; and when it last changed."""
    found = []
    if path.suffix == ".toml":
        files = [path, *path.parent.glob(f"{glob.escape(path.stem)}.ledger.db*")]
    else:
        patterns = (*WATCHED, DOCUMENT, UNFINISHED)
        files = [file for pattern in patterns for file in sorted(path.glob(pattern))]
    for file in files:
        if file.name.endswith("-shm"):  # who reads a database writes there, too
            continue
        try:
            stat = file.stat()
        except FileNotFoundError:  # SQLite's journals come and go
            continue
        found.append((str(file), stat.st_size, stat.st_mtime_ns))
    stamp = hashlib.sha256(repr(found).encode()).hexdigest()[:16]
    return stamp, max((changed_ns for *_, changed_ns in found), default=0) / 1e9


def _changed(file: Path) -> float:
    """0 for a file that went meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _job(path: Path) -> tuple[str, str]:
    found = described_job(path)
    state = FINISHED if found["finished"] else f"{UNDER_WAY}: {len(found['stages'])} stages"
    return state, f"{found['config']['data']} on {found['config']['target']}"


def _search(path: Path) -> tuple[str, str]:
    """Its trials are left to its page: a database is no matter for a list."""
    request = json.loads((path / "search.json").read_text())["request"]
    subject = (request.get("oracle") or {}).get("name") or request.get("data", "?")
    state = FINISHED if (path / "result.json").exists() else UNDER_WAY
    return state, f"{subject} on {', '.join(request['targets'])}"


def _refinement(path: Path) -> tuple[str, str]:
    tree = path / "tree" / TREE
    nodes = len(json.loads(tree.read_text())["nodes"]) if tree.exists() else 0
    state = FINISHED if (path / "result.json").exists() else UNDER_WAY
    return state, f"of {path.parent.name}: {nodes} nodes"


def _fleet(path: Path) -> tuple[str, str]:
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.reporting import report

    found = report(read_fleet(path))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found["counts"].items()))
    state = found["rollout"]["status"] if found["rollout"] else "nothing deployed yet"
    return state, f"{found['fleet']}: {counts}" if counts else found["fleet"]


def _record(path: Path) -> tuple[str, str]:
    file = path / DOCUMENT
    if not file.exists():
        return "not finished", "it lasts, or it broke off"
    document: Any = json.loads(file.read_bytes())
    return document["verdict"], title(document)
