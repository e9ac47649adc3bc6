"""`edgetran device calibrate` on this machine: killed, resumed, refused, emulated afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import edgetran
import pytest
from edgetran_devices import load_board, predict
from edgetran_protos.bundle import Work

pytestmark = pytest.mark.slow

PATIENCE_S = 240.0
COMMAND = [sys.executable, "-c", "from edgetran_host.cli.main import main; main()"]
CALIBRATE = [*COMMAND, "device", "calibrate"]
SHORT = ["--no-designs", "--blocks", "2", "--attempts", "1", "--threads", "1", "--json"]


def cells(home: Path) -> list[Path]:
    return sorted(home.glob("calibrations/local/*/cells/*.json"))


def test_a_killed_calibration_goes_on_and_the_board_is_then_emulated_as_measured(
    own_home: Path,
) -> None:
    process = subprocess.Popen([*CALIBRATE, "local", *SHORT], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while len(cells(own_home)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not list(own_home.glob("catalogue/*.toml")), "nothing is said before all is measured"
    before = {path: path.read_bytes() for path in cells(own_home)}

    done = subprocess.run([*CALIBRATE, "local", *SHORT], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["resumed"] == len(before) >= 3
    assert all(path.read_bytes() == text for path, text in before.items()), "paid once"
    assert found["mean_error_before"] is None
    assert len(found["graphs"]) + len(found["failed"]) == 13
    unit = load_board("local").units["cpu"]
    records = unit.measured["records"]
    assert len(records) == len(found["graphs"])
    kept = [json.loads(path.read_bytes()) for path in Path(found["records"]).glob("*/record.json")]
    assert set(records) <= {document["digest"] for document in kept}

    for path in cells(own_home):  # a model of the measured: as near as its own error bar says
        cell = json.loads(path.read_bytes())
        if "values" in cell:
            foretold = predict(unit, Work(**cell["work"])).latency_s
            assert 0 < foretold / cell["values"]["latency_s"] < 10 * (1 + unit.relative_error)
    if found["no_energy"]:
        assert unit.active_w is None
        assert predict(unit, Work(1e8, 0, 1e6, 1e6, 0, 9)).energy_j is None

    command = [sys.executable, "-m", "edgetran_daemon", "--emulate", "local", "--check"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "EMULATED" in told
    assert "(resident)" in told


def test_an_emulated_board_is_refused(own_home: Path) -> None:
    command = [*CALIBRATE, "nano", *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "emulated: there is nothing to measure" in done.stderr
    assert not list(own_home.glob("c*/*"))


def test_who_has_the_board_is_waited_for(own_home: Path) -> None:
    with edgetran.connect("local", threads=1) as board, board.lease(60, "somebody"):
        process = subprocess.Popen(
            [*CALIBRATE, "local", *SHORT], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_S
        while not board.leased().waiting:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not cells(own_home)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
