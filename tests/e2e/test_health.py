"""grpc.health.v1 of single models: load balancers and probes ask for the one they need."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import ModuleType

import grpc
import psutil
import pytest
from edgetran.board import Board
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN
START_S, PATIENCE_S = 30.0, 20.0


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType
) -> Iterator[tuple[psutil.Process, str]]:
    """Serves one model, `home`."""
    state = tmp_path_factory.mktemp("health")
    ready = state / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(state), "--ready-file", str(ready), "--threads", "1"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address = json.loads(ready.read_text())["address"]
        with Board(address) as board:
            board.deploy(tiny.make(state / "tiny.tar"), model="home")
        yield psutil.Process(process.pid), address
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_model_is_watched_through_its_worker_s_death_and_its_unloading(
    daemon: tuple[psutil.Process, str],
) -> None:
    process, address = daemon
    with grpc.insecure_channel(address) as channel, Board(address) as board:
        health = HealthStub(channel)
        home = HealthCheckRequest(service="home")
        told = health.Watch(home, timeout=PATIENCE_S)
        assert next(told).status == health.Check(home).status == SERVING
        (worker,) = process.children()
        worker.suspend()  # it can be killed, but not be replaced before we have looked
        worker.kill()
        assert next(told).status == NOT_SERVING
        assert next(told).status == SERVING
        board.unload("home")
        assert next(told).status == health.Check(home).status == NOT_SERVING
        board.load("home")
        assert next(told).status == SERVING
        board.remove("home")
        assert next(told).status == UNKNOWN
        with pytest.raises(grpc.RpcError) as refused:
            health.Check(home)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        assert health.Check(HealthCheckRequest(service="")).status == SERVING
