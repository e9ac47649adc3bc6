"""A run on disk: its request, what each stage found, and the files it left.

    RUN/config.json          the request
    RUN/stages/<stage>.json  result of a finished stage; absent means not finished
    RUN/<stage>/             files a stage works in; safe to resume from
    RUN/result.json          figures of the final table

Every JSON file appears whole or not at all (written aside, synced, renamed).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgetran_protos.errors import UsageError

from edgetran_host.job.config import JobConfig, pretty

REQUESTS = ("config.json", "search.json", "pretraining.json")  # of a job, a search, a pre-training


class RunDirectory:
    """Where one run keeps everything; opening an existing one continues it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(path: Path, config: JobConfig) -> RunDirectory:
        """Raises UsageError when `path` already holds a different request, or another kind."""
        run = RunDirectory(path)
        check_kind(path, "config.json")
        (path / "stages").mkdir(parents=True, exist_ok=True)
        if run._file("config.json").exists():
            if run.config() != config:
                raise UsageError(
                    f"{path} holds another run", hint="choose another --run or remove that folder"
                )
        else:
            write_atomically(run._file("config.json"), pretty(config).encode())
        return run

    def config(self) -> JobConfig:
        """Raises UsageError when the folder's config.json is not that of a run."""
        file = self._file("config.json")
        try:
            return JobConfig.from_json(read_json(file))
        except (AttributeError, KeyError, TypeError) as error:  # a model's, or another version's
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise UsageError(
                f"{file} holds no request of `edgetran deploy`: {why}", hint="name another folder"
            ) from error

    def folder(self, stage: str) -> Path:
        folder = self.path / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def stage(self, name: str) -> dict[str, Any] | None:
        """The result of a finished stage, else None."""
        file = self.path / "stages" / f"{name}.json"
        return read_json(file) if file.exists() else None

    def finish(self, name: str, result: dict[str, Any]) -> dict[str, Any]:
        file = self.path / "stages" / f"{name}.json"
        write_atomically(file, json.dumps(result, indent=1, sort_keys=True).encode())
        return result

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stage's stored result, or that of `work`, stored."""
        found = self.stage(name)
        return found if found is not None else self.finish(name, work())

    def result(self) -> dict[str, Any] | None:
        file = self._file("result.json")
        return read_json(file) if file.exists() else None

    def write_result(self, result: dict[str, Any]) -> None:
        write_atomically(self._file("result.json"), json.dumps(result, indent=1).encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time works in a run; what a killed one left half written is gone."""
        with open(self._file(".lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise UsageError(
                    f"another process is working in {self.path}",
                    hint="wait for it, or choose another --run",
                ) from exc
            for left in self.path.rglob(".*.partial"):
                left.unlink()
            yield

    def _file(self, name: str) -> Path:
        return self.path / name


def check_kind(path: Path, own: str) -> None:
    """own: of REQUESTS. Raises UsageError for the folder of another: they share result.json."""
    if found := next((name for name in REQUESTS if name != own and (path / name).exists()), None):
        raise UsageError(
            f"{path} holds something else: there is a {found}", hint="choose another --run"
        )


def read_json(file: Path) -> dict[str, Any]:
    """Raises UsageError when the file is damaged, as a failing disk leaves it."""
    try:
        found = json.loads(file.read_bytes())
        if isinstance(found, dict):
            return found
        why = f"it holds a {type(found).__name__}"
    except ValueError as error:
        why = str(error)
    raise UsageError(
        f"{file} is damaged: {why}",
        hint="bring it back from a copy, or remove it and give the run's command again",
    )


def write_atomically(path: Path, data: bytes) -> None:
    """The file is old or new, never half; survives a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
