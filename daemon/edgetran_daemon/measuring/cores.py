"""Which cores a measurement keeps to, and who else worked on them, as Linux counts it.

/proc/PID/task/*/schedstat: nanoseconds on a core, nanoseconds ready without one, turns.
/proc/stat: a core's ticks in user, nice, system, idle, iowait, irq, softirq, steal, ...
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import psutil
from edgetran_protos.measuring.series import UNKNOWN

from edgetran_daemon.board.board import own_cores

LOOK_S = 0.2
PROC, SYSTEM = Path("/proc"), Path("/sys")
IDLE, IOWAIT, STEAL = 3, 4, 7  # fields of a core in /proc/stat
GOVERNOR = "devices/system/cpu/cpu{}/cpufreq/scaling_governor"
CLOCK = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"


def quiet_cores(threads: int, look_s: float = LOOK_S) -> tuple[int, ...]:
    """As many cores as threads, those with the least to do; none where that cannot be."""
    own = own_cores()
    if not hasattr(os, "sched_setaffinity") or not 0 < threads <= len(own):
        return ()
    busy = psutil.cpu_percent(look_s, percpu=True)
    order = sorted(own, key=lambda core: (busy[core] if core < len(busy) else 0.0, core))
    return tuple(sorted(order[:threads]))


def governors(cores: Sequence[int], system: Path = SYSTEM) -> tuple[str, ...]:
    """Of these cores, each kind once; empty when the machine does not say."""
    found = (system / GOVERNOR.format(core) for core in cores)
    return tuple(sorted({path.read_text().strip() for path in found if path.exists()}))


def clock_khz(cores: Sequence[int], system: Path = SYSTEM) -> int:
    """Of the slowest of these cores."""
    found = [system / CLOCK.format(core) for core in cores]
    try:
        return min((int(path.read_text()) for path in found), default=UNKNOWN)
    except (OSError, ValueError):
        return UNKNOWN


@dataclass(frozen=True)
class Spent:
    """Between two looks, nanoseconds; UNKNOWN: this machine cannot tell."""

    waited_ns: int  # the worker's threads, ready and without a core
    others_ns: int  # on the cores, by neither the worker nor an idle core
    observer_ns: int  # this process


class Accounts:
    """Made before a stretch of work of one process; `spent` afterwards."""

    def __init__(self, pid: int, cores: Sequence[int], proc: Path = PROC) -> None:
        self._pid, self._cores, self._proc = pid, cores, proc
        self._observer_ns = time.process_time_ns()
        self._worker = self._scheduled()
        self._busy_ns = self._busy()

    def spent(self) -> Spent:
        worker, busy_ns = self._scheduled(), self._busy()
        waited_ns = others_ns = UNKNOWN
        if worker and self._worker:
            waited_ns = worker[1] - self._worker[1]
            if busy_ns is not None and self._busy_ns is not None:
                others_ns = max(0, busy_ns - self._busy_ns - (worker[0] - self._worker[0]))
        return Spent(waited_ns, others_ns, time.process_time_ns() - self._observer_ns)

    def _scheduled(self) -> Optional[tuple[int, int]]:
        """(on a core, ready without one), all threads of the process."""
        try:
            tasks = list((self._proc / str(self._pid) / "task").iterdir())
            rows = [(task / "schedstat").read_text().split() for task in tasks]
            return sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows)
        except (OSError, ValueError, IndexError):
            return None  # no such files, or a thread ended meanwhile

    def _busy(self) -> Optional[int]:
        if not self._cores:
            return None
        wanted = {f"cpu{core}" for core in self._cores}
        try:
            lines = [line.split() for line in (self._proc / "stat").read_text().splitlines()]
            rows = [[int(word) for word in row[1:9]] for row in lines if row[0] in wanted]
            ticks = sum(sum(row) - row[IDLE] - row[IOWAIT] for row in rows)
        except (OSError, ValueError, IndexError):
            return None
        return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
