"""Fixtures every test may use: the repository's root, a tiny bundle, a small disk, shared data."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from tests.postgres_server import PostgresServer
from tests.registry_server import RegistryServer

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["EDGETRAN_CONFIG"] = os.devnull  # a daemon that this machine serves with is not ours
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is in its background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # tests press Ctrl-C in what they start
hypothesis.settings.register_profile("edgetran", deadline=None)  # busy machines are no failures
hypothesis.settings.load_profile("edgetran")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """tests/daemon/tiny_bundle.py: a real bundle that any test can afford."""
    path = ROOT / "tests" / "daemon" / "tiny_bundle.py"
    spec = importlib.util.spec_from_file_location("tiny_bundle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OtherPython:
    """A Python that lacks edgetran and all but the named packages of this one."""

    def __init__(self, folder: Path, *packages: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder], check=True
        )
        self.site = next((folder / "lib").glob("python*/site-packages"))
        self.path = folder / "bin" / "python"
        for package in packages:
            found = importlib.util.find_spec(package)
            assert found is not None
            assert found.origin is not None
            home = Path(found.origin).parent
            for place in (home, *home.parent.glob(f"{package}.libs")):
                (self.site / place.name).symlink_to(place)

    def wrapped(self, path: Path, environment: Mapping[str, object]) -> Path:
        """A program at `path` that starts it with more in its environment."""
        lines = [f"export {name}={shlex.quote(str(v))}" for name, v in environment.items()]
        path.write_text("\n".join(["#!/bin/sh", *lines, f'exec {self.path} "$@"', ""]))
        path.chmod(0o755)
        return path


@pytest.fixture(scope="session")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> OtherPython:
    return OtherPython(tmp_path_factory.mktemp("python") / "other", "numpy", "onnxruntime")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An EDGETRAN_HOME of the test's own; the daemons started in it end with it."""
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path))
    yield tmp_path
    for ready in tmp_path.glob("boards/*/ready.json"):
        os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


class SmallDisk:
    """A file system that a test may fill; the fixture `small_disk` makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Mounts a file system of so many bytes; skips where that is not permitted."""
    mounted: list[Path] = []

    def make(size_bytes: int) -> SmallDisk:
        if shutil.which("mount") is None:
            pytest.skip("needs `mount` for a small disk")
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        options = f"size={size_bytes}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"may not mount a small disk: {done.stderr.splitlines()[0]}")
        mounted.append(folder)
        return SmallDisk(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real one; skips where its programs, or its driver, are absent."""
    pytest.importorskip("psycopg", reason="pip install 'edgetran-host[postgresql]'")
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def registry() -> Iterator[RegistryServer]:
    """A real one, over plain http; skips where its program, or oras, is absent."""
    pytest.importorskip("oras", reason="pip install 'edgetran-host[registry]'")
    server = RegistryServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real task data and published measurements; skips where they are absent."""
    path = ROOT.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip("needs the shared data folder beside the repository")
    return path
