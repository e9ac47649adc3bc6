"""A process that does not serve yet computes what the serving ones leave over.

It is put aside when it starts and brought forward before anybody waits for it. Where the
system would not let it come back (an ordinary user without RLIMIT_NICE), it is left alone.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

ASIDE = 15  # of 19


def put_aside(pid: int) -> None:
    """All threads that the process will make."""
    if _can_come_back():
        os.setpriority(os.PRIO_PROCESS, pid, ASIDE)


def bring_forward(pid: int) -> None:
    """With all its threads; one that has ended meanwhile is no matter."""
    if _can_come_back():
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), _own())


def _own() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


@lru_cache(maxsize=None)
def _can_come_back() -> bool:
    """Tried on a thread that ends right after; Linux has a priority for each."""
    found = []

    def attempt() -> None:
        number, own = threading.get_native_id(), _own()
        try:
            os.setpriority(os.PRIO_PROCESS, number, min(19, own + 1))
            os.setpriority(os.PRIO_PROCESS, number, own)
        except OSError:  # EACCES, or a filter of system calls
            return
        found.append(True)

    if Path("/proc/self/task").exists():
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    return bool(found)
