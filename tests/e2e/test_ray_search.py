"""`edgetran search --engine ray` on a real Ray of this machine: found as by the local engine."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.moods import write_moods, write_seed

pytest.importorskip("edgetran_daemon.main", reason="needs the daemon's package")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # four starts, each of which loads torch in several processes
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="needs Ray: pip install 'edgetran-host[ray]'",
    ),
]

TRIALS = 3
PATIENCE_S = 300.0
MAIN = "from edgetran_host.cli.main import main; main()"  # the program, whatever the environment
RAY_PROCESSES = ("raylet", "gcs_server")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A tiny seed, a small task, an emulated board."""
    path = tmp_path_factory.mktemp("world")
    seed, data = write_seed(path / "seed"), write_moods(path / "moods", train=300, dev=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETRAN_HOME", str(path / "home"))
        try:
            yield [
                *("search", "--target", "nano", "--data", str(data), "--seed", str(seed)),
                *("--method", "local", "--trials", str(TRIALS), "--parallel", "2"),
                *("--finalists", "1", "--repeats", "1", "--yes"),
            ]
        finally:
            for ready in (path / "home").glob("boards/*/ready.json"):
                os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)


def begun(words: list[str], folder: Path, engine: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    asked = [*words, "--run", str(folder / "run"), "--engine", engine]
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *asked], stdout=said, stderr=said, text=True
        )


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text())
    return found


def test_interrupted_on_ray_it_ends_as_a_local_one_does(words: list[str], tmp_path: Path) -> None:
    """Ctrl-C leaves no process of Ray's behind, and the same command goes on."""
    first = begun(words, tmp_path / "ray", "ray")
    said = tmp_path / "ray" / "said"
    deadline = time.monotonic() + PATIENCE_S
    while f"1/{TRIALS}" not in said.read_text():
        assert first.poll() is None, said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    own = [one for one in psutil.Process(first.pid).children(recursive=True) if _of_ray(one)]
    assert own
    first.send_signal(signal.SIGINT)
    assert first.wait(PATIENCE_S) != 0
    assert "Traceback" not in said.read_text()
    _, alive = psutil.wait_procs(own, timeout=PATIENCE_S)
    assert not alive
    assert not (tmp_path / "ray" / "run" / "result.json").exists()
    for engine in ("ray", "local"):
        search = begun(words, tmp_path / engine, engine)
        assert search.wait(PATIENCE_S) == 0, (tmp_path / engine / "said").read_text()
    on_ray, local = result_of(tmp_path / "ray"), result_of(tmp_path / "local")
    assert on_ray["evaluations"] == TRIALS
    for name in ("chosen", "front", "references", "trainings", "request"):
        assert on_ray[name] == local[name]


def _of_ray(process: psutil.Process) -> bool:
    return process.name() in RAY_PROCESSES
