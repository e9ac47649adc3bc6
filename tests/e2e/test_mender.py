"""The real update module, state by state as Mender calls it, with a real daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from edgetran import Board
from edgetran_protos.bundle import Bundle

pytestmark = pytest.mark.slow

START_S = 60.0


class Mender:
    """What its client does with a module: a folder an update, a call a state."""

    def __init__(self, script: Path, address: str, folder: Path) -> None:
        self._script = script
        self._folder = folder
        self.address = address
        self._conf = folder / "edgetran-bundle.conf"
        self._conf.write_text(f'ADDRESS="{address}"\nPYTHON="{sys.executable}"\nMODEL=home\n')

    def update(self, payload: Path, number: int) -> Path:
        files = self._folder / f"update-{number}"
        (files / "files").mkdir(parents=True)
        (files / "tmp").mkdir()
        shutil.copy(payload, files / "files" / "bundle.tar")
        return files

    def state(self, name: str, files: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._script), name, str(files)],
            cwd=files,
            env={**os.environ, "EDGETRAN_MENDER_CONF": str(self._conf)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def well(self, files: Path, *states: str) -> None:
        for name in states:
            ended = self.state(name, files)
            assert ended.returncode == 0, f"{name}: {ended.stderr}"

    def serves(self) -> str:
        with Board(self.address) as board:
            return next((one.bundle_digest for one in board.deployments()), "")


@pytest.fixture(scope="module")
def mender(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mender]:
    folder = tmp_path_factory.mktemp("mender")
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0", "--threads", "1"]
    command += ["--state", str(folder / "state"), "--ready-file", str(ready), "--watch", "0.2"]
    daemon = subprocess.Popen(command)
    deadline = time.monotonic() + START_S
    while not ready.exists():
        assert daemon.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    script = root / "packaging" / "mender" / "edgetran-bundle"
    yield Mender(script, json.loads(ready.read_text())["address"], folder)
    daemon.terminate()
    daemon.wait(20)


@pytest.fixture(scope="module")
def bundles(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "first": tiny.make(folder / "first.tar", 1, sequence=1),
        "second": tiny.make(folder / "second.tar", 2, sequence=2),
        "wrong": tiny.make(folder / "wrong.tar", 3, sequence=3, wrong_by=1.0),
    }


def test_what_mender_asks_of_a_module(mender: Mender, bundles: dict[str, Bundle]) -> None:
    files = mender.update(bundles["first"].path, 0)
    assert mender.state("NeedsArtifactReboot", files).stdout == "No\n"
    assert mender.state("SupportsRollback", files).stdout == "Yes\n"
    mender.well(files, "Download", "ProvidePayloadFileSizes", "ArtifactRollback", "Cleanup")
    assert mender.serves() == ""
    (files / "files" / "second.tar").touch()
    refused = mender.state("ArtifactInstall", files)
    assert refused.returncode == 1
    assert "one bundle" in refused.stderr


def test_updates(mender: Mender, bundles: dict[str, Bundle]) -> None:
    first, second = bundles["first"].digest, bundles["second"].digest
    files = mender.update(bundles["first"].path, 1)
    mender.well(files, "Download", "ArtifactInstall")
    assert mender.serves() == first
    mender.well(files, "ArtifactRollback", "ArtifactRollback")  # nothing served before
    assert mender.serves() == ""
    mender.well(files, "ArtifactFailure", "Cleanup")

    files = mender.update(bundles["first"].path, 2)
    mender.well(
        files, "Download", "ArtifactInstall", "ArtifactInstall", "ArtifactCommit", "Cleanup"
    )
    assert mender.serves() == first

    files = mender.update(bundles["wrong"].path, 3)  # its probe fails: Mender goes back
    refused = mender.state("ArtifactInstall", files)
    assert refused.returncode == 1
    assert "differ" in refused.stderr
    mender.well(files, "ArtifactRollback", "ArtifactFailure", "Cleanup")
    assert mender.serves() == first

    files = mender.update(bundles["second"].path, 4)
    mender.well(files, "Download", "ArtifactInstall")
    assert mender.serves() == second
    with Board(mender.address) as board:
        board.rollback("home", "somebody else")
    lost = mender.state("ArtifactCommit", files)
    assert lost.returncode == 1
    assert "not sha256:" in lost.stderr
    mender.well(files, "ArtifactRollback", "ArtifactFailure", "Cleanup")
    assert mender.serves() == first


def test_an_artifact_is_named_by_its_bundle(
    root: Path, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    """mender-artifact is not here: a program in its place says what it was told."""
    there = tmp_path / "mender-artifact"
    there.write_text('#!/bin/sh\necho "$@"\n')
    there.chmod(0o755)
    paths = [str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
    ended = subprocess.run(
        [root / "packaging" / "mender" / "edgetran-artifact-gen", bundles["first"].path, "rpi4"],
        env={**os.environ, "PATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    name = bundles["first"].digest.removeprefix("sha256:")[:16]
    assert f"--artifact-name edgetran-{name} --device-type rpi4" in ended.stdout
    assert f"--file {bundles['first'].path} --output-path edgetran-{name}.mender" in ended.stdout


def test_the_scripts_are_sound(root: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    scripts = sorted((root / "packaging" / "mender").iterdir())
    ended = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
