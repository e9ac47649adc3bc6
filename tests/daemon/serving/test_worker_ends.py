"""Why a process ended: signals by name, and whether the system was out of memory."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from edgetran_daemon.serving.worker_ends import WorkerState, how_it_ended, out_of_memory_kills


@pytest.mark.parametrize(
    ("status", "starved", "words"),
    [
        (0, False, "it left with status 0"),
        (12, False, "a request needed more memory than the process may take"),
        (3, True, "it left with status 3"),
        (-signal.SIGSEGV, False, "killed by SIGSEGV"),
        (-signal.SIGSEGV, True, "killed by SIGSEGV"),
        (-signal.SIGKILL, False, "killed by SIGKILL"),
        (-signal.SIGKILL, True, "killed by SIGKILL: the system was out of memory"),
        (-99, False, "killed by signal 99"),
    ],
)
def test_an_end_in_words(status: int, starved: bool, words: str) -> None:
    assert how_it_ended(status, starved) == words


def test_the_systems_count_of_processes_killed_for_memory(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    assert out_of_memory_kills(vmstat) == 0
    vmstat.write_text("nr_free_pages 12\noom_kill 7\noom_kill_other 100\n")
    assert out_of_memory_kills(vmstat) == 7


def test_trouble_says_why_and_when_it_goes_on() -> None:
    assert WorkerState(ready=True, restarts=3, last_end="killed by SIGSEGV").trouble == ""
    paused = WorkerState(ready=False, last_end="killed by SIGSEGV", pause_s=0.2).trouble
    assert "SIGSEGV" in paused
    assert "0.2 s" in paused
