"""Environments for foreign clients, made once and kept; a daemon for them to talk to."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import edgetran
import pytest
from edgetran_protos.bundle import Bundle

Served = tuple[str, subprocess.Popen[bytes]]  # the address
HERE = Path(__file__).parent
PLACE = HERE.parent.parent / ".venv-clients"
START_S = 30.0
NO_INDEX = (  # what pip says when it cannot reach a registry, rather than that it finds nothing
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "ReadTimeoutError",
    "ConnectTimeoutError",
    "ProxyError",
)


def made(name: str) -> Path:
    """The Python of `.venv-clients/NAME`, made from `NAME.txt` unless it is there; may skip."""
    requirements = HERE / f"{name}.txt"
    folder = PLACE / name
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    ready, python = folder / ".ready", folder / "bin" / "python"
    PLACE.mkdir(exist_ok=True)
    with (PLACE / f".{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists() and ready.read_text() == wanted:
            return python
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [python, "-m", "pip", "install", "--retries", "1", "--no-input"]
        done = subprocess.run(
            [*install, "-r", requirements], capture_output=True, text=True, check=False
        )
        if done.returncode and any(sign in done.stderr + done.stdout for sign in NO_INDEX):
            pytest.skip(f"pip reaches no package index for {requirements.name}")
        assert done.returncode == 0, done.stderr
        ready.write_text(wanted)
    return python


@pytest.fixture(scope="session")
def environment() -> Callable[[str], Path]:
    return made


@pytest.fixture(scope="session")
def isolated() -> dict[str, str]:
    """An environment without anything of this process's packages."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


@pytest.fixture(scope="session")
def triton_python() -> Path:
    return made("requirements")


@pytest.fixture(scope="session")
def run_checks(isolated: dict[str, str]) -> Callable[..., dict[str, str]]:
    """Runs a client's checks in its own Python; check -> what went wrong, or nothing."""

    def run(python: Path, program: str, *arguments: object) -> dict[str, str]:
        command = [str(part) for part in (python, HERE / program, *arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, env=isolated, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found

    return run


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "tiny.tar")
    return made


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Path:
    """Tensors, texts and what the model must make of them, for a client that has no numpy model."""
    tokens, texts = tiny.encode(tiny.TEXTS), ["turn on the light", "heat on"]
    found = tiny.reference(tiny.encode([[text] for text in texts])).argmax(1)
    path = tmp_path_factory.mktemp("known") / "known.json"
    path.write_text(
        json.dumps(
            {
                "inputs": {name: rows.tolist() for name, rows in tokens.items()},
                "logits": tiny.reference(tokens).tolist(),
                "labels": tiny.LABELS,
                "texts": texts,
                "text_labels": [tiny.LABELS[index] for index in found],
            }
        )
    )
    return path


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle
) -> Callable[[str], AbstractContextManager[Served]]:
    """Starts a daemon that serves the bundle as `home` and as `spare`."""

    @contextmanager
    def serve(listen: str) -> Iterator[Served]:
        folder = tmp_path_factory.mktemp("state")
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "edgetran_daemon", "--listen", listen]
        command += ["--state", str(folder), "--threads", "1", "--ready-file", str(ready)]
        process = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + START_S
            while not ready.exists():
                assert process.poll() is None, "the daemon ended early"
                assert time.monotonic() < deadline, "the daemon is not ready"
                time.sleep(0.02)
            address = json.loads(ready.read_text())["address"]
            with edgetran.connect(address) as board:
                board.deploy(bundle, model="home")
                board.deploy(bundle, model="spare")
            yield address, process
        finally:
            process.terminate()
            process.wait(20)

    return serve


@pytest.fixture(scope="session")
def address(served: Callable[[str], AbstractContextManager[Served]]) -> Iterator[str]:
    with served("127.0.0.1:0") as (found, _):
        yield found


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For sockets, whose names have to be short."""
    with tempfile.TemporaryDirectory(prefix="edgetran-") as folder:
        yield Path(folder)
