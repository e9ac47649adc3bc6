"""The wheels on a board's own system: Debian for aarch64 under emulation, served to this host.

Instructions, C library, Python, wheels, signals and the wire are the board's; times are not,
and no figure from here means anything. The kernel is this machine's.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import edgetran
import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

START_S, STOP_S, INSTALL_S = 180.0, 60.0, 900.0
ENVIRONMENT = "/opt/edgetran"  # the virtual environment on the board
INSIDE = """
import json, platform, sys
import numpy as np, onnxruntime, edgetran
from edgetran.errors import BoardUnreachable

def connect(tries):  # two emulated programs on a busy machine: its patience is for real boards
    try:
        return edgetran.connect(sys.argv[1])
    except BoardUnreachable:
        if not tries:
            raise
        return connect(tries - 1)

with connect(10) as board:
    label = board.predict([sys.argv[2]])[0].label
print(json.dumps([platform.machine(), list(sys.version_info[:2]), platform.libc_ver()[1], label]))
"""
SUITES = {"bookworm": ((3, 11), "2.36"), "bullseye": ((3, 9), "2.31")}  # Python, C library


class EmulatedBoard:
    """A root file system of another machine, entered through the shared script."""

    def __init__(self, script: Path, folder: Path, wheels: Path) -> None:
        self._script = script
        self._folder = folder
        self._wheels = wheels

    def set_up(self, suite: str) -> None:
        debs = "python3-pip,python3-venv,python3-setuptools,python3-wheel"
        self._finish("setup", "--suite", suite, "--debs", debs)

    def command(self, *program: str) -> list[str]:
        binds = [f"{self._wheels}:/wheels:ro"]
        if Path("/etc/ssl/certs").is_dir():
            binds.append("/etc/ssl/certs:/etc/ssl/certs:ro")
        given = [f"{name}={value}" for name, value in os.environ.items() if _is_pips(name)]
        options = [part for bind in binds for part in ("--bind", bind)]
        options += [part for pair in given for part in ("--env", pair)]
        return ["bash", str(self._script), "run", str(self._folder), *options, "--", *program]

    def run(self, *program: str) -> str:
        done = subprocess.run(
            self.command(*program), capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def clean(self) -> None:
        self._finish("clean")

    def _finish(self, verb: str, *options: str) -> None:
        done = subprocess.run(
            ["bash", str(self._script), verb, str(self._folder), *options],
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        if done.returncode in (3, 4):  # something is missing here, or cannot be downloaded
            pytest.skip(f"no emulated board: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr


def _is_pips(name: str) -> bool:
    """How this machine reaches its package index; its local folders are not on the board."""
    known = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "SSL_CERT_FILE")
    return name in known or name.upper() in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


@pytest.fixture(scope="module")
def wheels(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five, built as `make wheels` builds them."""
    folder = tmp_path_factory.mktemp("wheels")
    packages = [str(root / name) for name in ("protos", "devices", "sdk", "daemon", "host")]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "-w", str(folder), *packages], check=True)
    assert len(list(folder.glob("*-py3-none-any.whl"))) == len(packages)
    return folder


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def board(
    suite: str, shared: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatedBoard]:
    """A fresh one with the daemon installed by its own pip."""
    script = shared / "tools" / "arm64_board.sh"
    if not script.exists():
        pytest.skip("needs arm64_board.sh of the shared tools")
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts and another root folder")
    if platform.system() != "Linux" or shutil.which("unshare") is None:
        pytest.skip("needs Linux with unshare")
    made = EmulatedBoard(script, tmp_path_factory.mktemp("board"), wheels)
    made.set_up(suite)
    made.run("/usr/bin/python3", "-m", "venv", ENVIRONMENT)
    pip = (f"{ENVIRONMENT}/bin/python", "-m", "pip", "install", "--quiet", "--only-binary=:all:")
    made.run(*pip, "--find-links", "/wheels", "edgetran-daemon[onnxruntime]", "edgetran")
    yield made
    made.clean()


@contextmanager
def serving(board: EmulatedBoard, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A daemon on the board, and its address, which this host reaches too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = (f"{ENVIRONMENT}/bin/edgetran-daemon", "--listen", address, "--threads", "1")
    process = subprocess.Popen(
        board.command(*program, "--json", "--log-level", "info", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _await(process, address)
        yield process, address
    except BaseException:
        process.kill()
        print(*process.communicate())  # what the daemon said, for whoever reads the failure
        raise
    finally:
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[str], address: str) -> None:
    deadline = time.monotonic() + START_S
    host, _, port = address.rpartition(":")
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with socket.socket() as trial:
            if trial.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the daemon does not listen")


def test_it_serves_this_host_and_leaves_when_told(
    board: EmulatedBoard, suite: str, tiny: ModuleType, tmp_path: Path
) -> None:
    python, libc = SUITES[suite]
    bundle = tiny.make(tmp_path / "bundle")
    words = "turn on the light"
    with serving(board, "--state", "/var/lib/edgetran") as (process, address):
        with edgetran.connect(address) as connected:
            found = connected.describe()
            assert found.host_platform == "linux aarch64"
            assert [runtime.name for runtime in found.runtimes if not runtime.unavailable] == [
                "onnxruntime"
            ]
            deployed = connected.deploy(bundle, model="home")
            assert deployed.state == "serving"
            tokens = tiny.encode([[words]])
            logits = connected.infer("home", tokens)["logits"]
            np.testing.assert_allclose(logits, tiny.reference(tokens), atol=1e-4)
            label = connected.predict([words])[0].label
            assert label == tiny.LABELS[int(tiny.reference(tokens)[0].argmax())]
        inside = board.run(f"{ENVIRONMENT}/bin/python", "-c", INSIDE, address, words)
        assert json.loads(inside) == ["aarch64", list(python), libc, label]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, err
    assert json.loads(out)["address"] == address
    with serving(board, "--state", "/var/lib/edgetran") as (process, address):
        with edgetran.connect(address) as connected:  # what it served, it serves again
            assert connected.predict([words])[0].label == label
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=STOP_S)
    assert process.returncode == 0


def test_an_emulated_nano_can_be_played_there_too(board: EmulatedBoard) -> None:
    with serving(board, "--state", "/tmp/nano", "--emulate", "nano:gpu") as (process, address):
        with edgetran.connect(address) as connected:
            found = connected.describe()
            assert (found.board, found.emulated) == ("jetson-nano", True)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_S)
    assert process.returncode == 0
