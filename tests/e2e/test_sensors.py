"""A power meter on a real daemon: listed with its contract, tested by steps of real load."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import edgetran
import psutil
import pytest
from edgetran.errors import BoardBusy, BoardUnreachable, SensorUnusable, UsageError

IDLE_W, LOAD_W = 2.3, 6.1


def _meters() -> Any:
    path = Path(__file__).parents[1] / "contracts" / "hardware" / "meters.py"
    spec = importlib.util.spec_from_file_location("meters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Board:
    """A daemon whose board draws more while its own children work, as their CPU time tells."""

    def __init__(self, folder: Path, wired: bool) -> None:
        self.daemon: psutil.Process | None = None
        self._wired = wired
        self._last_s, self._last_cpu_s, self._power_w = 0.0, 0.0, IDLE_W
        self.meter = _meters().LiveMeter(self.power_w)
        self.ready = folder / "ready.json"
        self.command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
        self.command += ["--state", str(folder / "state"), "--ready-file", str(self.ready)]
        self.command += ["--serial-meter", f"smartpower3:{self.meter.port}", "--threads", "1"]

    def power_w(self) -> float:
        """Looks every 10 ms, as the meter does."""
        if self.daemon is None or not self._wired:
            return IDLE_W
        try:
            working = any(
                child.status() == psutil.STATUS_RUNNING for child in self.daemon.children()
            )
        except psutil.Error:
            working = False
        return LOAD_W if working else IDLE_W


@contextmanager
def serving(folder: Path, wired: bool = True) -> Iterator[str]:
    pytest.importorskip("serial")
    board = Board(folder, wired)
    process = subprocess.Popen(board.command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not board.ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.02)
        board.daemon = psutil.Process(process.pid)
        yield json.loads(board.ready.read_text())["address"]
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        board.meter.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("board")) as address:
        yield address


def edgetran_says(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("edgetran")), *words]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_sensors_are_listed_with_their_contracts(address: str) -> None:
    with edgetran.connect(address) as board:
        found = {sensor.name: sensor for sensor in board.describe().sensors}
    meter = found["smartpower3"]
    assert (meter.unavailable, meter.in_use, meter.scope) == ("", True, "board")
    assert meter.rate_hz == pytest.approx(100, rel=0.2)
    assert [name for name, sensor in found.items() if sensor.in_use] == ["smartpower3"]
    for name, sensor in found.items():
        assert sensor.covers, name
        assert sensor.clock, name
        assert sensor.overhead, name
        assert 0 < sensor.bandwidth_hz <= sensor.rate_hz, name
        assert sensor.unavailable or name in ("smartpower3", "rapl"), name
    said = edgetran_says("device", "sensors", address).stdout
    assert "smartpower3  in use" in said
    assert "scope      board: the supply's outputs that are on" in said
    assert "ina226  not set up: i2c_sensor" in said
    assert "smartpower3 (board)" in edgetran_says("device", "info", address).stdout


def test_a_sensor_that_follows_the_load_is_seen_to(address: str) -> None:
    steps = []
    with edgetran.connect(address) as board:
        found = board.test_sensor(phase_s=0.3, steps=2, on_progress=steps.append)
    assert found.sensor == "smartpower3"
    assert found.idle_w is not None
    assert found.load_w is not None
    assert found.idle_w < found.load_w
    assert found.faults == 0
    assert not [reason for reason in found.reasons if "does not see" in reason]
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5]


def test_nobody_else_measures_meanwhile_and_leaving_stops_the_load(address: str) -> None:
    class Enough(Exception):
        pass

    def leave(step: edgetran.Progress) -> None:
        with edgetran.connect(address) as other, pytest.raises(BoardBusy):
            other.test_sensor(phase_s=0.2)
        raise Enough

    with edgetran.connect(address) as board:
        with pytest.raises(Enough):
            board.test_sensor(phase_s=20.0, on_progress=leave)
        deadline = time.monotonic() + 20
        while True:
            try:
                board.test_sensor(phase_s=0.2, steps=1)
                break
            except BoardBusy:
                assert time.monotonic() < deadline, "the load goes on"
                time.sleep(0.05)


def test_the_asynchronous_board_has_it_too(address: str) -> None:
    async def test() -> edgetran.SensorReport:
        async with edgetran.connect_async(address) as board:
            return await board.test_sensor("smartpower3", phase_s=0.2, steps=1)

    found = asyncio.run(test())
    assert found.sensor == "smartpower3"
    assert found.passed == (not found.reasons)


def test_an_emulated_board_has_no_sensor_to_test(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--emulate", "nano", "--threads", "1"]
    command += ["--listen", "127.0.0.1:0", "--state", str(tmp_path / "state")]
    with subprocess.Popen([*command, "--ready-file", str(ready)]) as process:
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                assert time.monotonic() < deadline, "not ready"
                time.sleep(0.02)
            with edgetran.connect(json.loads(ready.read_text())["address"]) as board:
                assert not any(sensor.in_use for sensor in board.describe().sensors)
                with pytest.raises(UsageError, match="modelled"):
                    board.test_sensor()
        finally:
            process.terminate()


def test_what_cannot_be_tested_is_refused(address: str) -> None:
    with edgetran.connect(address) as board:
        with pytest.raises(UsageError, match="no sensor 'volts'"):
            board.test_sensor("volts")
        with pytest.raises(SensorUnusable, match="i2c_sensor"):
            board.test_sensor("ina226")
        with pytest.raises(UsageError, match="steps of"):
            board.test_sensor(phase_s=31.0)


@pytest.mark.slow
def test_a_daemon_that_is_killed_leaves_no_load_behind(tmp_path: Path) -> None:
    with contextlib.suppress(AssertionError), serving(tmp_path) as address:
        pid = json.loads((tmp_path / "ready.json").read_text())["pid"]
        loaded: list[psutil.Process] = []

        def kill(step: edgetran.Progress) -> None:
            if step.done == 1:  # the cores are at work
                loaded.extend(psutil.Process(pid).children())
                psutil.Process(pid).kill()

        with edgetran.connect(address) as board, pytest.raises(BoardUnreachable):
            board.test_sensor(phase_s=1.0, on_progress=kill)
    assert loaded
    assert not psutil.wait_procs(loaded, timeout=20)[1]


@pytest.mark.slow
def test_what_is_measured_has_the_meters_joules(
    address: str, tmp_path: Path, tiny: ModuleType
) -> None:
    bundle = tiny.make(tmp_path / "tiny.tar")
    asked: Any = {"blocks": 3, "min_block_s": 0.5, "warmup_limit_s": 1.0, "batch_size": 128}
    with edgetran.connect(address) as board:
        (found,) = board.measure([(bundle, None)], **asked)
    assert "smartpower3 (board: the supply's outputs" in found.source
    assert found.energy_j is not None
    assert found.latency_p50_s is not None
    power_w = found.energy_j.value / found.latency_p50_s.value
    assert IDLE_W < power_w < 2 * LOAD_W, "the worker's own time between runs counts, too"
    assert found.peak_power_w is not None
    assert found.peak_power_w.value <= LOAD_W * 1.01


@pytest.mark.slow
def test_a_meter_of_another_board_fails_the_command(tmp_path: Path) -> None:
    with serving(tmp_path, wired=False) as address:
        done = edgetran_says("device", "sensors", address, "--self-test", "--json")
        assert done.returncode == 1, done
        found = json.loads(done.stdout)
        assert not found["passed"]
        assert any("does not see the board work" in reason for reason in found["reasons"])
        done = edgetran_says("device", "sensors", address, "--self-test")
        assert "smartpower3: FAILED" in done.stdout
