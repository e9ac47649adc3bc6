"""Which Python runs the workers of each runtime, and what the runtime says of itself there.

A maker may ship a runtime for one Python alone, as JetPack does TensorRT for the system's. That
Python needs numpy and the runtime; edgetran's own few files are lent to it (worker/elsewhere.py).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from edgetran_daemon.runtimes import RUNTIMES, runtime_class
from edgetran_daemon.worker import elsewhere

WORKER = "edgetran_daemon.worker"
STATUS = "edgetran_daemon.worker.status"
ASK_LIMIT_S = 60.0  # a small board loads a large library from its card
OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME")  # mean nothing good to another


@dataclass(frozen=True)
class RuntimeStatus:
    name: str
    version: str
    unavailable: str  # empty when usable


@dataclass(frozen=True)
class WorkerPythons:
    """`paths`: by runtime, where it is not the daemon's own; a text has `RUNTIME=PATH ...`."""

    paths: Mapping[str, Path] = field(default_factory=dict)

    @staticmethod
    def of_text(text: str) -> WorkerPythons:
        """Paths with spaces stand in quotes. Raises ValueError."""
        pairs = [part.partition("=") for part in shlex.split(text)]
        if len({name for name, _, _ in pairs}) < len(pairs):
            raise ValueError(f"{text!r} names a runtime twice")
        return WorkerPythons.of({name: path for name, _, path in pairs})

    @staticmethod
    def of(paths: Mapping[str, str]) -> WorkerPythons:
        """Raises ValueError."""
        for name, path in paths.items():
            if name not in RUNTIMES or not os.path.isabs(path) or "\0" in path:
                raise ValueError(f"{name!r} is no runtime, or {path!r} no absolute path")
        return WorkerPythons({name: Path(path) for name, path in paths.items()})

    def __str__(self) -> str:
        return " ".join(f"{name}={shlex.quote(str(path))}" for name, path in self.paths.items())

    def command(self, runtime: str, module: str = WORKER) -> list[str]:
        """Runs one of edgetran's modules; its arguments are to follow."""
        if runtime in self.paths:
            return [str(self.paths[runtime]), elsewhere.__file__, module]
        return [sys.executable, "-m", module]

    def environment(self, runtime: str) -> dict[str, str]:
        dropped = OF_THIS_PYTHON if runtime in self.paths else ()
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return {**kept, "OPENBLAS_NUM_THREADS": "1"}  # numpy only carries tensors

    def statuses(self) -> tuple[RuntimeStatus, ...]:
        """Of all that edgetran knows, usable or not."""
        return tuple(map(self.status, RUNTIMES))

    def status(self, runtime: str) -> RuntimeStatus:
        """Another Python and a device's driver are asked once, in a process of their own."""
        kind = runtime_class(runtime)
        if runtime not in self.paths:
            if reason := kind.unavailable():
                return RuntimeStatus(runtime, "", reason)
            if not kind.has_device:
                return RuntimeStatus(runtime, kind.version(), "")
        command = (*self.command(runtime, STATUS), runtime)
        return _asked(runtime, command, tuple(sorted(self.environment(runtime).items())))


OWN = WorkerPythons()


@lru_cache(maxsize=64)
def _asked(
    runtime: str, command: tuple[str, ...], environment: tuple[tuple[str, str], ...]
) -> RuntimeStatus:
    try:
        ended = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_LIMIT_S,
            check=False,
        )
    except OSError as exc:
        return RuntimeStatus(runtime, "", f"{command[0]} cannot be started: {exc.strerror}")
    except subprocess.TimeoutExpired:
        return RuntimeStatus(runtime, "", f"{command[0]} did not answer in {ASK_LIMIT_S:.0f} s")
    try:
        said = json.loads(ended.stdout.splitlines()[-1])
        return RuntimeStatus(runtime, str(said["version"]), str(said["unavailable"]))
    except (IndexError, KeyError, TypeError, ValueError):
        lines = re.sub(r"\s+\n", "\n", ended.stderr.strip()).splitlines()
        last = lines[-1] if lines else f"it left with status {ended.returncode}"
        return RuntimeStatus(runtime, "", f"{command[0]} cannot run a worker: {last}")
