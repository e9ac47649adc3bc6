"""From a name to a board: which rule wins, and what is said when nobody is there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import edgetran
import pytest
from edgetran import AddressBook, BoardUnreachable, UnknownTarget, UsageError, own_daemon
from edgetran.connect import locate
from edgetran.connect import own_daemon as daemon_for
from edgetran.own_daemon import OwnDaemon


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_an_address_wins(home: Path) -> None:
    AddressBook.default().add("nano", "10.0.0.9:1")
    assert locate("nano", address="10.0.0.1:2") == "10.0.0.1:2"
    assert locate("10.0.0.1:3") == "10.0.0.1:3"


def test_the_address_book_comes_before_the_catalogue(home: Path) -> None:
    AddressBook.default().add("nano", "10.0.0.9:1")
    assert locate("nano") == "10.0.0.9:1"


@pytest.mark.parametrize(
    ("name", "folder", "emulate"),
    [
        ("local", "local-cpu", ""),
        ("nano", "jetson-nano-cpu", "jetson-nano:cpu"),
        ("nano:gpu", "jetson-nano-gpu", "jetson-nano:gpu"),
    ],
)
def test_our_own_daemons(home: Path, name: str, folder: str, emulate: str) -> None:
    daemon = daemon_for(name, threads=2)
    assert daemon == OwnDaemon(home / "boards" / folder, emulate, 2)
    assert ("--emulate" in daemon.command()) is bool(emulate)


def test_an_unknown_board_lists_the_known(home: Path) -> None:
    AddressBook.default().add("desk", "10.0.0.9:1")
    with pytest.raises(UnknownTarget) as caught:
        edgetran.connect("nanoo")
    assert "did you mean 'nano'?" in caught.value.hint
    assert "desk" in caught.value.hint


def test_nonsense_is_refused(home: Path) -> None:
    with pytest.raises(UsageError):
        edgetran.connect(address="not an address")
    with pytest.raises(UsageError):
        edgetran.connect("local", threads=0)


def test_nobody_there(home: Path) -> None:
    address = free_address()
    with pytest.raises(BoardUnreachable, match=address) as caught:
        edgetran.connect(address)
    assert f"edgetran-daemon --listen {address}" in caught.value.hint


def test_a_refused_connection_is_said_in_a_few_words(home: Path) -> None:
    address = free_address()
    with pytest.raises(BoardUnreachable) as caught:
        edgetran.connect(address)
    assert str(caught.value) == f"cannot reach {address}: Connection refused"


def test_a_daemon_that_is_leaving_is_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = daemon_for("nano", None)
    daemon.state.mkdir(parents=True)
    lock = daemon.state / "daemon.lock"
    holder = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX)"
    command = [sys.executable, "-c", holder + "; print(flush=True); time.sleep(0.7)", str(lock)]
    monkeypatch.setattr(own_daemon, "_start", lambda daemon: str(own_daemon._free(lock)))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as leaving:
        assert leaving.stdout is not None
        leaving.stdout.readline()
        assert own_daemon.ensure(daemon) == "True"


def test_somebody_there_who_is_silent(
    home: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BoardUnreachable, match=silent):
        own_daemon.describe(silent, 0.5)


def test_a_daemon_that_dies_shows_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_daemon, "MODULE", "this")  # a real module that prints and ends
    with pytest.raises(BoardUnreachable) as caught:
        locate("nano")
    assert "Namespaces are one honking great idea" in str(caught.value)
    assert "daemon.log" in caught.value.hint


def test_a_daemon_that_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_daemon, "MODULE", "edgetran_daemon_that_is_not_installed")
    with pytest.raises(BoardUnreachable) as caught:
        locate("nano")
    assert "pip install 'edgetran-daemon[onnxruntime]'" in caught.value.hint


def test_a_daemon_that_never_gets_ready_is_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_daemon, "MODULE", "http.server")
    monkeypatch.setattr(own_daemon, "START_S", 0.6)
    monkeypatch.setattr(
        OwnDaemon, "command", lambda self: [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    with pytest.raises(BoardUnreachable, match="not ready"):
        locate("nano")
    assert own_daemon._started[-1].wait(5) != 0


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"address": "x", "pid": "y"}'])
def test_a_malformed_ready_file_counts_for_nothing(home: Path, text: str) -> None:
    daemon = daemon_for("nano", None)
    daemon.state.mkdir(parents=True)
    daemon.ready_file.write_text(text)
    assert own_daemon.running(daemon) == ""


def test_a_ready_file_of_a_dead_daemon_counts_for_nothing(home: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert own_daemon.running(ready(home, free_address(), process.pid)) == ""


def test_a_number_that_another_process_got_counts_for_nothing(home: Path) -> None:
    assert own_daemon.running(ready(home, free_address(), os.getpid())) == ""


def test_two_callers_start_one_daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    serving: list[str] = []

    def start(daemon: OwnDaemon) -> str:
        starts.append(daemon)
        serving.append("127.0.0.1:1")
        return serving[0]

    monkeypatch.setattr(own_daemon, "_start", start)
    monkeypatch.setattr(own_daemon, "running", lambda daemon: "".join(serving))
    callers = [threading.Thread(target=locate, args=("nano",)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(starts) == 1


CALLER = """
import sys, edgetran
with edgetran.connect("local", threads=1) as board:
    print(board.describe().daemon_version, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def old_edgetran(tmp_path: Path) -> dict[str, str]:
    """An environment in which the daemon is of another version."""
    told = tmp_path / "old" / "edgetran_daemon-0.0.7.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: edgetran-daemon\nVersion: 0.0.7\n")
    paths = [str(told.parent), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def caller(**environ: str) -> Iterator[tuple[str, int]]:
    """A program that works with `local`: the daemon's version and process."""
    with subprocess.Popen(
        [sys.executable, "-c", CALLER],
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        version = program.stdout.readline().strip()
        raw = json.loads(daemon_for("local", None).ready_file.read_text())
        yield version, raw["pid"]
        program.communicate("\n")


def test_a_daemon_that_an_upgrade_left_behind_is_replaced(
    home: Path, old_edgetran: dict[str, str]
) -> None:
    """When nobody works with it any more; then the next one stays."""
    pids = set()
    try:
        with caller(**old_edgetran) as (version, old):
            pids.add(old)
            assert version == "0.0.7"
            with caller() as (shared, same):
                assert (shared, same) == ("0.0.7", old)
        with caller() as (version, new):
            pids.add(new)
            assert version == metadata.version("edgetran-daemon")
            assert new != old
        with caller() as (version, kept):
            assert (version, kept) == (metadata.version("edgetran-daemon"), new)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def ready(home: Path, address: str, pid: int) -> OwnDaemon:
    daemon = daemon_for("nano", None)
    daemon.state.mkdir(parents=True)
    daemon.ready_file.write_text(json.dumps({"address": address, "pid": pid}))
    return daemon
