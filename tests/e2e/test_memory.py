"""A model that is unloaded gives back what it took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import psutil
from edgetran.board import Board

START_S, PATIENCE_S = 30.0, 20.0
MODELS = ("first", "second", "third")
WITHIN = 1.05
ROWS = ["turn on the light"] * 512


def rss_bytes(process: psutil.Process) -> int:
    """Of the daemon and all below it, once the workers that were to end have ended."""
    deadline = time.monotonic() + PATIENCE_S
    while process.children():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(process.memory_info().rss)


def test_unloading_gives_the_memory_back(tmp_path: Path, tiny: ModuleType) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "edgetran_daemon", "--listen", "127.0.0.1:0"]
    command += ["--state", str(tmp_path), "--ready-file", str(ready), "--threads", "1"]
    process = subprocess.Popen([*command, "--watch", "0"])
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        watched = psutil.Process(process.pid)
        with Board(json.loads(ready.read_text())["address"]) as board:
            for seed, model in enumerate(MODELS):
                board.deploy(tiny.make(tmp_path / f"{seed}.tar", seed=seed), model=model)
                board.predict(ROWS, model=model)
                board.unload(model)
            before = rss_bytes(watched)
            for model in MODELS:
                board.load(model)
                board.predict(ROWS, model=model)
            loaded = watched.memory_info().rss + sum(
                child.memory_info().rss for child in watched.children()
            )
            for model in MODELS:
                board.unload(model)
            after = rss_bytes(watched)
        assert loaded > 2 * before  # there was something to give back
        assert after <= WITHIN * before
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
