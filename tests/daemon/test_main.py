"""The command `edgetran-daemon`: what it prints, when it leaves and with which status."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import edgetran
import pytest
from edgetran_daemon.main import main
from edgetran_daemon.settings.configuration import default_state

START_S = 30.0


@contextlib.contextmanager
def serving(
    *options: str, ready: Path, listen: str = "127.0.0.1:0"
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", listen]
    command += ["--threads", "1", "--ready-file", str(ready), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """The status and the line of a daemon that must not start."""
    status = main(["--listen", "127.0.0.1:0", *options])
    out, err = capsys.readouterr()
    assert out == ""
    line, hint = err.splitlines()
    assert line.startswith("edgetran-daemon: ")
    assert hint.startswith("  hint: ")
    return status, line


@pytest.mark.parametrize("place", ["/proc/nowhere/ready.json", "/dev/null/ready.json"])
def test_a_ready_file_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    options = ("--state", str(tmp_path), "--threads", "1", "--ready-file", place)
    status, line = refused(capsys, *options)
    assert status == 2
    assert place in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_with_zero_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready.json"
    options = ("--state", str(tmp_path / "state"), "--emulate", "nano:gpu")
    with serving(*options, ready=ready) as process:
        known = json.loads(ready.read_text())
        assert known["pid"] == process.pid
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert not ready.exists()
    assert err == ""
    (line,) = out.splitlines()
    assert "jetson-nano:gpu (EMULATED" in line
    assert line.endswith(known["address"])


def test_for_machines_it_says_where_it_serves_as_json(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with serving("--state", str(tmp_path / "state"), "--json", ready=ready) as process:
        process.terminate()
        out, _ = process.communicate(timeout=20)
    told = json.loads(out)
    assert (told["board"], told["emulated"], told["pid"]) == ("local", False, process.pid)
    host, _, port = told["address"].rpartition(":")
    with socket.socket() as free:
        free.bind((host, int(port)))  # and it let go of the port


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Short, whatever the folder of the tests is called."""
    with tempfile.TemporaryDirectory(prefix="edgetran-") as folder:
        yield Path(folder) / "board.sock"


def test_a_unix_socket_serves_its_owner_and_goes_with_the_daemon(
    socket_path: Path, tmp_path: Path
) -> None:
    options = ("--state", str(tmp_path / "state"))
    ready = tmp_path / "ready.json"
    with serving(*options, ready=ready, listen=f"unix:{socket_path}") as process:
        address = json.loads(ready.read_text())["address"]
        assert address == f"unix:{socket_path}"
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o660
        with edgetran.connect(address) as board:
            assert board.describe().board == "local"
        process.terminate()
        assert process.wait(20) == 0
    assert not socket_path.exists()


def test_a_socket_left_behind_is_taken_over_and_a_living_one_is_not(
    socket_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = f"unix:{socket_path}"
    ready, options = tmp_path / "ready.json", ("--state", str(tmp_path / "first"))
    with serving(*options, ready=ready, listen=listen) as process:
        process.kill()
        process.wait()
    assert socket_path.exists()
    ready.unlink()
    with serving(*options, ready=ready, listen=listen):
        other = ("--state", str(tmp_path / "second"))
        status, line = refused(capsys, *other, "--listen", listen)
        assert (status, str(socket_path) in line) == (2, True)
        with edgetran.connect(listen) as board:  # and the first one serves on
            assert board.describe().board == "local"


def test_a_file_is_no_socket(
    socket_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket_path.write_text("mine")
    for path in (socket_path, socket_path / "below"):
        options = ("--state", str(tmp_path), "--listen", f"unix:{path}")
        assert refused(capsys, *options)[0] == 2
    assert socket_path.read_text() == "mine"


def test_unused_it_leaves_by_itself(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "state"), "--idle-exit", "0.1")
    with serving(*options, ready=tmp_path / "ready.json") as process:
        assert process.wait(20) == 0


def test_what_cannot_be_is_status_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, line = refused(capsys, *state, "--listen", address)
    assert (status, address in line) == (2, True)
    status, line = refused(capsys, *state, "--emulate", "nanoo")
    assert (status, "nanoo" in line) == (2, True)
    status, line = refused(capsys, *state, "--listen", "0.0.0.0:0")
    assert (status, "0.0.0.0" in line) == (2, True)
    (tmp_path / "deployments.json").write_text("{}")
    status, line = refused(capsys, *state)
    assert (status, "deployments.json" in line) == (2, True)


def test_a_state_folder_that_is_none_is_status_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for state in (file, file / "below"):
        status, line = refused(capsys, "--state", str(state))
        assert status == 1
        assert str(file) in line
        assert "Errno" not in line


def test_a_full_disk_at_the_start_is_status_one(
    capsys: pytest.CaptureFixture[str], small_disk: Callable[[int], Any]
) -> None:
    disk = small_disk(64 << 10)
    disk.fill()
    status, line = refused(capsys, "--state", str(disk.path / "state"))
    assert status == 1
    assert os.strerror(errno.ENOSPC) in line
    assert str(disk.path) in line


def test_a_full_disk_for_the_ready_file_ends_it_too(
    capsys: pytest.CaptureFixture[str], small_disk: Callable[[int], Any], tmp_path: Path
) -> None:
    disk = small_disk(64 << 10)
    disk.fill()
    ready = disk.path / "ready.json"
    state = ("--state", str(tmp_path), "--ready-file", str(ready))
    status, line = refused(capsys, *state)
    assert status == 1
    assert os.strerror(errno.ENOSPC) in line
    assert not ready.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--threads", "0"],
        ["--threads", "257"],
        ["--threads", "two"],
        ["--idle-exit", "nan"],
        ["--idle-exit", "-1"],
        ["--max-message-mb", "2048"],
        ["--max-message-mb", "0"],
        ["--no-such-option"],
        ["nano"],
    ],
)
def test_options_that_are_none(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert "edgetran-daemon: error:" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_where_models_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path))
    assert default_state() == tmp_path / "daemon"
    monkeypatch.delenv("EDGETRAN_HOME")
    assert default_state().parts[-2:] == ("state", "edgetran")
