"""What Prometheus reads of a real daemon, with Prometheus's own parser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import edgetran
import psutil
import pytest
from edgetran.errors import EdgeTranError
from edgetran_devices import predict, resolve
from edgetran_devices.catalogue import BOARDS
from prometheus_client.parser import text_string_to_metric_families

START_S = 30.0
MEMORY_LIMIT_BYTES = 80 << 20  # of the supervisor, metrics included
Samples = dict[tuple[str, str], float]  # (name, a label's value): value


class Served:
    def __init__(self, process: subprocess.Popen[bytes], address: str, metrics: str) -> None:
        self.process = process
        self.address = address
        self.metrics = metrics

    def read(self) -> Samples:
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found: Samples = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation
            for sample in family.samples:
                labels = " ".join(sample.labels[name] for name in sorted(sample.labels))
                assert (sample.name, labels) not in found
                found[sample.name, labels] = sample.value
        return found

    def read_until(self, name: str, labels: str, value: float) -> Samples:
        """A client has its answer a moment before the call is over and counted."""
        deadline = time.monotonic() + START_S
        while (found := self.read()).get((name, labels)) != value:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    log, ready = folder / "log", folder / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--metrics-address", "127.0.0.1:0", "--log-format", "json", "--log-level", "info"]
    command += ["--state", str(folder / "state"), "--ready-file", str(ready), "--threads", "1"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *options], stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.02)
        lines = [json.loads(x) for x in log.read_text().splitlines() if x.startswith("{")]
        (metrics,) = [line["address"] for line in lines if line["message"] == "metrics"]
        yield Served(process, json.loads(ready.read_text())["address"], metrics)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_requests_errors_and_a_restart_are_counted(tmp_path: Path, tiny: ModuleType) -> None:
    with serving(tmp_path) as served, edgetran.connect(served.address) as board:
        assert not any("model" in name for name, _ in served.read())
        board.deploy(tiny.make(tmp_path / "bundle"), model="home")
        for _ in range(3):
            board.predict(["turn on the light"])
        with pytest.raises(EdgeTranError):
            board.predict(["x"], model="absent")
        method = "edgetran.v1.TextService/Predict"
        found = served.read_until("edgetran_request_seconds_count", method, 4)
        assert found["edgetran_requests_total", f"OK {method}"] == 3
        assert found["edgetran_requests_total", f"NOT_FOUND {method}"] == 1
        assert found["edgetran_request_seconds_bucket", f"+Inf {method}"] == 4
        assert found["edgetran_model_answers_total", "home"] == 3
        assert found["edgetran_model_inferences_total", "home"] == 3
        assert found["edgetran_model_infer_seconds_total", "home"] > 0
        assert found["edgetran_model_queue_seconds_total", "home"] >= 0
        assert found["edgetran_model_ready", "home"] == 1
        assert found["edgetran_deployments", "serving"] == 1
        assert found["edgetran_model_restarts_total", "home"] == 0
        sensors = [sensor for sensor in board.describe().sensors if not sensor.unavailable]
        assert any("energy" in name for name, _ in found) == bool(sensors), "never invented"
        kill_the_worker(served.process)
        board.predict(["turn on the light"])
        assert served.read()["edgetran_model_restarts_total", "home"] == 1
        assert psutil.Process(served.process.pid).memory_info().rss < MEMORY_LIMIT_BYTES


def kill_the_worker(process: subprocess.Popen[bytes]) -> None:
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()
    deadline = time.monotonic() + START_S
    while worker.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_an_emulated_boards_energy_says_that_it_is_modelled(
    tmp_path: Path, tiny: ModuleType
) -> None:
    bundle = tiny.make(tmp_path / "bundle")
    spec, unit = resolve("nano:gpu")
    with serving(tmp_path, "--emulate", "nano:gpu") as served:
        with edgetran.connect(served.address) as board:
            board.deploy(bundle, model="home")
            board.predict(["heat on"])
            board.predict(["heat on", "light"])
        found = served.read_until("edgetran_model_answers_total", "home", 2)
    work = bundle.card.variants[0].work
    wanted = sum(predict(spec.units[unit], work, rows).energy_j for rows in (1, 2))
    assert found["edgetran_model_modelled_energy_joules_total", "home"] == pytest.approx(wanted)
    for absent in ("edgetran_temperature_celsius", "edgetran_throttled", "edgetran_energy_joules"):
        assert not any(name.startswith(absent) for name, _ in found)


def test_an_emulated_board_without_power_has_no_energy(
    tmp_path: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETRAN_HOME", str(tmp_path))
    own = tmp_path / "catalogue" / "bench.toml"
    own.parent.mkdir()
    text = (BOARDS / "rpi4.toml").read_text()
    own.write_text(re.sub("(?m)^(aliases|idle_w|active_w|peak_w).*$", "", text))
    with serving(tmp_path, "--emulate", "bench") as served:
        with edgetran.connect(served.address) as board:
            board.deploy(tiny.make(tmp_path / "bundle"), model="home")
            board.predict(["heat on"])
        found = served.read_until("edgetran_model_answers_total", "home", 1)
    assert not any("energy" in name for name, _ in found), "absent, not zero"


@pytest.mark.parametrize("address", ["127.0.0.1", ":9", "127.0.0.1:x", "0.0.0.0:9464"])
def test_an_address_that_cannot_be_is_refused(address: str, tmp_path: Path) -> None:
    status, text = refused(tmp_path, address)
    assert status == 2
    assert address.rpartition(":")[0] in text
    assert "hint: " in text


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, text = refused(tmp_path, address)
    assert (status, address in text, "--metrics-address" in text) == (2, True, True)


def refused(state: Path, address: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    done = subprocess.run(
        [*command, "--state", str(state), "--metrics-address", address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    return done.returncode, done.stderr
