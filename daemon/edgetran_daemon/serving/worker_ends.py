"""Why a model's process ended, in words a person can act on."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgetran_daemon.worker.wire import OUT_OF_MEMORY

VMSTAT = Path("/proc/vmstat")


@dataclass(frozen=True)
class WorkerState:
    """How the process of a served model is doing."""

    ready: bool
    restarts: int = 0  # since the model serves
    last_end: str = ""  # why the last process ended; empty: none did
    pause_s: Optional[float] = None  # before the next try; None: ready, or being tried

    @property
    def trouble(self) -> str:
        """Empty when it serves."""
        if self.ready:
            return ""
        again = "is being started again"
        if self.pause_s is not None:
            again = f"is started again after a pause of {self.pause_s:.1f} s"
        return f"its process ended ({self.last_end or 'not yet started'}) and {again}"


def how_it_ended(status: int, ran_out_of_memory: bool) -> str:
    """`status` as a process reports it: negative for a signal."""
    if status == OUT_OF_MEMORY:
        return "a request needed more memory than the process may take"
    if status >= 0:
        return f"it left with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status == signal.SIGKILL and ran_out_of_memory:
        return f"killed by {name}: the system was out of memory"
    return f"killed by {name}"


def out_of_memory_kills(vmstat: Path = VMSTAT) -> int:
    """Processes that the system killed for memory since it started, in any control group."""
    try:
        lines = vmstat.read_text().splitlines()
    except OSError:
        return 0  # another system: it does not tell
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
