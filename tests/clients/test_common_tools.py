"""Tools that know only public protocols: a health probe and a client by reflection."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
Tool = Callable[..., subprocess.CompletedProcess[str]]
Served = tuple[str, subprocess.Popen[bytes]]
INFERENCE = "inference.GRPCInferenceService"


@pytest.fixture
def tool(triton_python: Path, isolated: dict[str, str]) -> Tool:
    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(triton_python), str(HERE / program), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=240, env=isolated, check=False
        )

    return run


def test_the_probe_of_each_service_says_serving(tool: Tool, address: str) -> None:
    for service in ("", INFERENCE, "edgetran.v1.MeasurementService"):
        done = tool("health_probe.py", address, service)
        assert (done.returncode, done.stdout) == (0, "SERVING\n"), done.stderr
    done = tool("health_probe.py", address, "no.such.Service")
    assert (done.returncode, done.stdout) == (3, "NOT_FOUND\n")
    assert tool("health_probe.py", "127.0.0.1:1").returncode == 2


def test_everything_can_be_called_by_reflection(tool: Tool, address: str, tiny: Any) -> None:
    listed = tool("generic_client.py", address).stdout.split()
    assert {INFERENCE, "edgetran.v1.TextService", "grpc.health.v1.Health"} < set(listed)

    def ask(path: str, **request: Any) -> Any:
        done = tool("generic_client.py", address, path, json.dumps(request))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    (told,) = ask("edgetran.v1.DeviceService/Describe")
    assert told["board"] == "local"
    inputs = [{"text": "turn on the light"}]
    (answer,) = ask("edgetran.v1.TextService/Predict", model="home", inputs=inputs)
    assert answer["predictions"][0]["label"] in tiny.LABELS
    (lease,) = ask("edgetran.v1.MeasurementService/AcquireLease", holder="me", ttl_s=600)
    assert ask("edgetran.v1.MeasurementService/ReleaseLease", token=lease["token"]) == [{}]
    found = ask("edgetran.v1.DeploymentService/ListDeployments", history=True)
    assert {entry["model"] for entry in found[0]["deployments"]} == {"home", "spare"}
    (answer,) = ask(
        f"{INFERENCE}/ModelInfer",
        model_name="home:text",
        inputs=[
            {
                "name": "TEXT",
                "datatype": "BYTES",
                "shape": [1, 1],
                "contents": {"bytes_contents": ["aGVhdCBvbg=="]},  # "heat on"
            }
        ],
    )
    assert [out["name"] for out in answer["outputs"]] == ["LABEL", "SCORE", "SCORES"]


def test_a_unix_socket_serves_them_all(
    tool: Tool,
    served: Callable[[str], AbstractContextManager[Served]],
    triton_python: Path,
    run_checks: Callable[..., dict[str, str]],
    known: Path,
    short_folder: Path,
) -> None:
    with served(f"unix:{short_folder}/board.sock") as (address, process):
        assert address.startswith("unix:/")
        assert tool("health_probe.py", address).returncode == 0
        assert INFERENCE in tool("generic_client.py", address).stdout.split()
        checks = ("health", "infer_raw", "stream", "text", "shared_memory")
        found = run_checks(triton_python, "triton_client.py", address, known, *checks)
        assert found == dict.fromkeys(checks, "")
        command = [sys.executable, "-m", "edgetran.conformance", address]
        assert subprocess.run(command, stdout=subprocess.PIPE, check=False).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert tool("health_probe.py", address).returncode == 2
