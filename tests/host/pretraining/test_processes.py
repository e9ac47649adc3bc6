"""Real processes: one that is killed, and two that share a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from edgetran_host.models.checkpoint import load_model
from edgetran_host.pretraining.curve import of_kind, read_curve

SCRIPT = """
import sys
from edgetran_host.cli.main import main
from edgetran_host.pretraining import stepping
stepping.SAVE_PERIOD_S, stepping.SAVE_SHARE = -1.0, 0.0
main()
"""


def command(text: Path, out: Path, script: Path, *more: str) -> list[str]:
    script.write_text(SCRIPT)
    given = [str(script), "pretrain", "--design", "2x16:sa_sdp,c_5:32", "--text", str(text)]
    given += ["--vocabulary", "300", "--sequence-length", "12", "--batch-size", "16"]
    given += ["--device", "cpu", "--precision", "fp32", "--threads", "1", "--out", str(out)]
    return [*given, *more]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
def test_killed(text: Path, tmp_path: Path) -> None:
    """SIGKILL twice, at whatever step that is; the weights are those of a run left alone."""
    out, script = tmp_path / "killed", tmp_path / "script.py"
    more = ["--steps", "120", "--dropout", "0.1"]
    for looks in (1, 2):
        process = subprocess.Popen([sys.executable, *command(text, out, script, *more)])
        _wait_for_state(out, process, looks)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    killed = run(command(text, out, script, *more))
    assert killed.returncode == 0, killed.stderr
    whole = run(command(text, tmp_path / "whole", script, *more))
    assert whole.returncode == 0, whole.stderr
    one, other = (load_model(tmp_path / name / "model")[0] for name in ("killed", "whole"))
    same = other.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.state_dict().items())
    steps = [point["step"] for point in read_curve(out) if "loss" in point]
    assert steps == list(range(10, 121, 10))


def _wait_for_state(out: Path, process: subprocess.Popen[bytes], looks: int) -> None:
    """Until the state on disk was written `looks` times by this process."""
    file, seen = out / "state.safetensors", set[int]()
    begun = file.stat().st_mtime_ns if file.exists() else 0
    while len(seen) < looks:
        assert process.poll() is None, "it ended before it could be killed"
        if file.exists() and file.stat().st_mtime_ns != begun:
            seen.add(file.stat().st_mtime_ns)
        time.sleep(0.005)


@pytest.mark.slow
def test_two_processes(text: Path, tmp_path: Path) -> None:
    """The curve is that of one process with the whole batch."""
    script = tmp_path / "script.py"
    more = ["--steps", "60", "--dropout", "0", "--json"]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    two = run([*launcher, *command(text, tmp_path / "two", script, *more, "--accumulate", "2")])
    assert two.returncode == 0, two.stderr
    one = run(command(text, tmp_path / "one", script, *more))
    assert one.returncode == 0, one.stderr
    assert json.loads(two.stdout)["processes"] == 2  # and only the first one says so
    curves = [read_curve(tmp_path / name) for name in ("one", "two")]
    for key in ("loss", "held_out"):
        (steps, losses), (others, found) = (of_kind(curve, key) for curve in curves)
        assert steps == others
        assert found == pytest.approx(losses, rel=1e-3)
    again = run([*launcher, *command(text, tmp_path / "two", script, *more, "--accumulate", "3")])
    assert again.returncode != 0
    assert "do not fall into" in again.stderr
