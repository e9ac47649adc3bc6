"""What systemd hears: a real daemon on a real notification socket, and a loop that hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgetran_daemon.service_manager import ServiceManager

HEAR_S = 30.0


@pytest.fixture(params=["a file", "an abstract name"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket and its name as systemd would write it."""
    name = str(tmp_path / "notify")
    if request.param == "an abstract name":
        name = f"@edgetran-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(name.replace("@", "\0") if name.startswith("@") else name)
        found.settimeout(HEAR_S)
        yield found, name


def hear(ear: socket.socket) -> str:
    return ear.recv(4096).decode()


def heard(ear: socket.socket) -> list[str]:
    """All that lies there already."""
    ear.setblocking(False)
    found = []
    try:
        while True:
            found.append(hear(ear))
    except BlockingIOError:
        return found


def test_a_daemon_says_when_it_serves_lives_and_stops(
    ear: tuple[socket.socket, str], tmp_path: Path
) -> None:
    listener, name = ear
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"),
            *("--state", str(tmp_path / "state"), "--threads", "1", "--ready-file", str(ready)),
        ],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "90000"},
    )
    try:
        first = hear(listener)
        assert first.startswith("READY=1\nSTATUS=serving ")
        assert ready.exists()
        assert {hear(listener) for _ in range(5)} == {"WATCHDOG=1"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        rest = [message.split("\n")[0] for message in heard(listener)]
        assert rest.count("STOPPING=1") == 1
        assert set(rest) <= {"STOPPING=1", "WATCHDOG=1"}
    finally:
        process.kill()
        process.wait()


def test_a_hung_loop_gives_no_sign_of_life(ear: tuple[socket.socket, str]) -> None:
    listener, name = ear

    async def live() -> None:
        manager = ServiceManager(name, watchdog_s=0.03)
        manager.ready("")
        listening = asyncio.get_running_loop()
        await listening.run_in_executor(None, lambda: [hear(listener) for _ in range(4)])
        heard(listener)
        threading.Event().wait(0.3)  # ten watchdogs long, nothing else runs in this thread
        assert heard(listener) == []
        await asyncio.sleep(0.05)
        assert set(heard(listener)) == {"WATCHDOG=1"}
        manager.close()
        await asyncio.sleep(0.05)
        heard(listener)
        await asyncio.sleep(0.05)
        assert heard(listener) == []

    asyncio.run(live())


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "NAME", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "NAME", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "NAME"},
    ],
)
def test_only_what_systemd_asks_for_is_said(
    ear: tuple[socket.socket, str], environ: dict[str, str]
) -> None:
    listener, name = ear
    variables = {key: value.replace("NAME", name) for key, value in environ.items()}
    asked = bool(variables.get("NOTIFY_SOCKET"))
    manager = ServiceManager.of(variables)
    assert variables == {}, "its children would speak in its name"

    async def live() -> None:
        manager.ready("")
        await asyncio.sleep(0.05)
        manager.stopping()
        manager.close()

    asyncio.run(live())
    said = [message.split("\n")[0] for message in heard(listener)]
    assert said == (["READY=1", "STOPPING=1"] if asked else [])


def test_a_manager_that_is_gone_does_not_stop_the_daemon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager(str(tmp_path / "absent")).stopping()
    assert "STOPPING=1" in caplog.text
