"""The conformance suite on another server, MLServer: what it does otherwise is known by name."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
START_S = 60.0
DEVIATIONS = {  # of MLServer 1.7.1; the model at hand does not check its input either
    "unknown model is not ready",  # UNKNOWN instead of an answer
    "only the outputs asked for come",
    "unknown output is refused",
    "wrong shape is refused",
    "wrong datatype is refused",
    "no datatype is refused",  # this and the next ones: INTERNAL
    "unknown input is refused",
    "missing input is refused",
    "too few bytes are refused",
    "too few raw contents are refused",
    "too few typed values are refused",
    "stream answers each request",  # its stream is one request in parts, of its own messages
    "stream goes on after a refusal",
    "index lists the model as ready",  # "State.READY"
    "model leaves and comes back",  # as the first
}
ABSENT = {
    "strings that end early are refused",
    "health service says serving",
    "reflection lists the service",
    "configuration agrees with the metadata",
    "statistics count what was answered",
    "shared inputs are answered like sent ones",
    "shared outputs are written where asked",
    "regions are listed until they are unregistered",
    "places beyond a region are refused",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def mlserver(
    environment: Callable[[str], Path],
    isolated: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Its address, once it is ready."""
    python = environment("mlserver")
    folder = tmp_path_factory.mktemp("mlserver") / "models"
    shutil.copytree(HERE / "mlserver", folder)
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    log = folder.parent / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python.parent / "mlserver", "start", "."],
            cwd=folder,
            env=isolated,
            stdout=file,
            stderr=file,
        )
    try:
        deadline = time.monotonic() + START_S
        while not listens(ports["grpc_port"]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{ports['grpc_port']}"
    finally:
        process.terminate()
        process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def test_its_deviations_are_the_known_ones(mlserver: str) -> None:
    command = [sys.executable, "-m", "edgetran.conformance", mlserver, "--model", "sums"]
    done = subprocess.run(
        [*command, "--json", "--disturb"], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)
    assert {one["check"] for one in found if one["verdict"] == "failed"} == DEVIATIONS
    assert {one["check"] for one in found if one["verdict"] == "not offered"} == ABSENT
    passed = {one["check"] for one in found if one["verdict"] == "passed"}
    assert {
        "typed tensors are answered like raw ones",
        "rows are answered like each alone",
    } < passed
    assert len(passed) == len(found) - len(DEVIATIONS) - len(ABSENT) >= 15
