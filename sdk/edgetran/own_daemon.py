"""Daemons of our own: started on this machine for `local` and for emulated boards.

One state directory a board and unit, one daemon a directory. A lock file keeps
two callers from starting two; the ready file says where the running one listens. One that an
upgrade left behind is replaced, unless another program works with it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Optional

from edgetran_protos.generated.edgetran.v1.device_pb2 import DescribeRequest
from edgetran_protos.generated.edgetran.v1.device_pb2_grpc import DeviceServiceStub

from edgetran import convert
from edgetran.channel import open_channel, translated
from edgetran.errors import BoardError, BoardUnreachable
from edgetran.places import locked
from edgetran.results import BoardInfo

MODULE = "edgetran_daemon"
START_S = 120.0  # how long a daemon may take until it serves: it loads what served before first
ALIVE_S = 5.0  # how long a running one may take to answer
LEAVE_S = 15.0  # how long one may take to leave: its last calls get ten seconds
POLL_S = 0.05
IDLE_EXIT_S = 900
LOCK = "daemon.lock"  # a daemon's, while it lives
USERS = "users.lock"  # shared by the processes that a daemon must not leave
LOG_TAIL_LINES = 15

COMPLAINT = re.compile(r"^edgetran-daemon: (?P<line>.*)\n +hint: (?P<hint>.*)\Z", re.MULTILINE)

# Held so that Python neither warns about children still running nor leaves them undead.
_started: list[subprocess.Popen[bytes]] = []
_kept: dict[Path, IO[str]] = {}


@dataclass(frozen=True)
class OwnDaemon:
    """What one of our daemons is to be: `emulate` empty means this very machine."""

    state: Path
    emulate: str = ""  # "jetson-nano:gpu"
    threads: Optional[int] = None

    @property
    def ready_file(self) -> Path:
        return self.state / "ready.json"

    @property
    def log_file(self) -> Path:
        return self.state / "daemon.log"

    def command(self) -> list[str]:
        emulate = ["--emulate", self.emulate] if self.emulate else []
        threads = ["--threads", str(self.threads)] if self.threads else []
        return [
            *(sys.executable, "-m", MODULE, "--listen", "127.0.0.1:0"),
            *("--state", str(self.state), "--ready-file", str(self.ready_file)),
            *("--idle-exit", str(IDLE_EXIT_S)),
            *("--config", os.devnull),  # the settings of a service on this machine are not its
            *emulate,
            *threads,
        ]


def ensure(daemon: OwnDaemon) -> str:
    """The address of the running daemon, started if need be."""
    try:
        with locked(daemon.state / "start.lock"):
            address = "" if _sent_away(daemon) else running(daemon)
            _keep(daemon.state)
            if address:
                return address
            _await_departure(daemon)
            return _start(daemon)
    except OSError as exc:
        raise BoardError(
            f"no daemon can work in {daemon.state}: {exc.strerror or exc}",
            hint="free some disk space there, or set EDGETRAN_HOME to a folder of yours",
        ) from exc


def _keep(state: Path) -> None:
    """While this process lives its daemons do not end for want of calls: trainings last longer."""
    if state not in _kept:
        _kept[state] = (state / USERS).open("a")
        fcntl.flock(_kept[state], fcntl.LOCK_SH)


def _sent_away(daemon: OwnDaemon) -> bool:
    """Whether a daemon of another version than the installed one was told to leave."""
    ready, installed = _read_ready(daemon.ready_file), _installed_version()
    if daemon.state in _kept or ready is None or not installed:
        return False
    if not _alive(ready[1]) or _free(daemon.state / LOCK):
        return False  # nobody works there: the number may be any process's
    try:
        outdated = describe(ready[0], ALIVE_S).daemon_version != installed
    except BoardError:
        return False  # `running` says why it counts for nothing
    if not outdated or not _free(daemon.state / USERS, fcntl.LOCK_EX):
        return False
    os.kill(ready[1], signal.SIGTERM)
    return True


def _installed_version() -> str:
    """Empty where there is none, or one that runs from its sources."""
    try:
        return metadata.version("edgetran-daemon")
    except metadata.PackageNotFoundError:
        return ""


def running(daemon: OwnDaemon) -> str:
    """The address of a daemon that answers from `daemon.state`; empty when none does."""
    ready = _read_ready(daemon.ready_file)
    if ready is None or not _alive(ready[1]):
        return ""
    address = ready[0]
    try:
        describe(address, ALIVE_S)
    except BoardError:
        return ""  # another process has the number now, or it hangs
    return address


def _await_departure(daemon: OwnDaemon) -> None:
    """One that is leaving still answers its last calls; the folder is its own until then."""
    deadline = time.monotonic() + LEAVE_S
    while not _free(daemon.state / LOCK) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _free(lock: Path, kind: int = fcntl.LOCK_SH) -> bool:
    """Whether nobody keeps the lock from us, which the system lifts when its process ends."""
    try:
        with lock.open("r") as file:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def describe(address: str, timeout_s: float) -> BoardInfo:
    with open_channel(address) as channel, translated(address):
        raw = DeviceServiceStub(channel).Describe(DescribeRequest(), timeout=timeout_s)
    return convert.board_info(raw)


def _start(daemon: OwnDaemon) -> str:
    if importlib.util.find_spec(MODULE) is None:
        raise BoardUnreachable(
            "no daemon is installed on this machine",
            hint="pip install 'edgetran-daemon[onnxruntime]'",
        )
    daemon.ready_file.unlink(missing_ok=True)
    daemon.log_file.write_text(f"{' '.join(daemon.command())}\n")  # fails when the disk is full
    with daemon.log_file.open("ab") as log:
        process = subprocess.Popen(
            daemon.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the caller's terminal is not for it
        )
    _started.append(process)
    return _await_ready(daemon, process)


def _await_ready(daemon: OwnDaemon, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        ready = _read_ready(daemon.ready_file)
        if ready is not None:
            describe(ready[0], ALIVE_S)
            return ready[0]
        if process.poll() is not None:
            raise _failed(daemon, f"the daemon ended with status {process.returncode}")
        time.sleep(POLL_S)
    process.terminate()
    raise _failed(daemon, f"the daemon was not ready after {START_S:.0f} s")


def _failed(daemon: OwnDaemon, what: str) -> BoardUnreachable:
    text = daemon.log_file.read_text(encoding="utf-8", errors="replace").strip()
    told = COMPLAINT.search(text)
    if told is not None:
        return BoardUnreachable(f"{what}: {told['line']}", hint=told["hint"])
    tail = "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
    return BoardUnreachable(
        f"{what}; its log ends:\n{tail}",
        hint=f"the whole log: {daemon.log_file}; "
        "is it installed? pip install 'edgetran-daemon[onnxruntime]'",
    )


def _read_ready(path: Path) -> Optional[tuple[str, int]]:
    """(address, pid); None when there is no file or it is not one of ours."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return str(raw["address"]), int(raw["pid"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    for process in _started:
        if process.pid == pid:
            return process.poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, and alive
    return True
