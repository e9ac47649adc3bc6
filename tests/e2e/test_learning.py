"""A board's surrogate learnt over the wire: killed halfway, it goes on with what it has."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgetran_host.surrogates.storing import load

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
BUDGET = 9
SPACE = """
name = "small"
layer_counts = [1, 2]
hidden_sizes = [128]
head_counts = [2, 4]
head_kinds = ["sa_sdp", "l_dft", "c_5"]
feed_forward_widths = [256, 512]
feed_forward_depths = [1, 2]
"""


def test_killed_and_continued(own_home: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SPACE)
    out = tmp_path / "pi.json"
    words = [sys.executable, "-m", "edgetran_host.cli.main", "surrogate", "learn", "--json"]
    words += ["--target", "rpi4", "--budget", str(BUDGET), "--out", str(out)]
    words += ["--space", str(tmp_path / "small.toml"), "--max-error", "0.0001"]
    words += ["--runs", "3", "--blocks", "1", "--attempts", "1"]
    kept = tmp_path / "pi.learning" / "cells" / "rpi4"
    killed = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while len(list(kept.glob("*.json"))) < 4:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    finally:
        killed.kill()
        killed.wait()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert 4 <= len(before) < BUDGET
    assert not out.exists()
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert (found["measured"], found["stopped_early"]) == (BUDGET, False)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}.items()
    assert load(out).rows == BUDGET
    assert set(found["coverage_90"]) == set(load(out).measures)
    assert '"detail": "export; error ' in ended.stderr
    other = subprocess.run([*words, "--seed", "1"], capture_output=True, text=True)
    assert other.returncode == 1
    assert "was begun with other designs" in other.stderr
