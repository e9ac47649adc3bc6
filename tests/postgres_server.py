"""A PostgreSQL server of a test's own: Debian's programs, a Unix socket, no network."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PATIENCE_S = 60.0
PLACES = "/usr/lib/postgresql/*/bin"
UNPRIVILEGED = ("postgres", "nobody")  # the server refuses to run as root


class PostgresServer:
    """Skips where there are no programs of it."""

    def __init__(self) -> None:
        self._bin = _programs()
        self._user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="edgetran-postgres-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._count = 0
        self._server: subprocess.Popen[bytes] | None = None
        try:
            self._run("initdb", "-D", self.folder / "data", "-A", "trust", "-U", "edgetran", "-N")
            self._start()
        except BaseException:
            self.stop()
            raise

    def fresh_database(self) -> str:
        """Its URL."""
        self._count += 1
        name = f"search{self._count}"
        self._run("createdb", "-h", self.folder, "-U", "edgetran", name)
        return f"postgresql://edgetran@/{name}?host={self.folder}"

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # "fast": clients are sent away
            self._server.wait(PATIENCE_S)
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        words = ["-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses="]
        self._server = subprocess.Popen(
            [self._bin / "postgres", *words, "-c", "fsync=off"],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("wb"),
        )
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._server.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline_s, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        words = [self._bin / "pg_isready", "-h", self.folder, "-q"]
        return subprocess.run(words, check=False).returncode == 0

    def _run(self, program: str, *words: str | Path) -> None:
        done = subprocess.run(
            [self._bin / program, *words],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


def _programs() -> Path:
    found = shutil.which("initdb")
    places = sorted(Path("/").glob(PLACES[1:]))
    folder = places[-1] if places else Path(found).resolve().parent if found else None
    if folder is None or not (folder / "postgres").exists():
        pytest.skip(f"needs PostgreSQL's programs, in PATH or {PLACES}: apt install postgresql")
    return folder


def _user() -> str | None:
    """None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)
