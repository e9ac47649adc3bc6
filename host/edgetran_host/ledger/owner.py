"""Who works on a key: a process, so that another can tell whether it still lives."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import psutil

PROCESSES = Path("/proc/self/ns/pid")  # Linux: which process numbers are meant

CLOCK_S = 5.0  # by which setting the clock may move the time a process began


@lru_cache(maxsize=4)
def own_name(pid: int) -> str:
    """Of this process, whose number is `pid`."""
    began = psutil.Process(pid).create_time()
    return json.dumps({"host": _place(), "pid": pid, "began": round(began, 1)})


def is_gone(owner: str) -> bool:
    """True: it lived here and is dead. False: it lives, or nobody here can tell."""
    found = json.loads(owner)
    if found["host"] != _place():
        return False
    try:
        alive = psutil.Process(found["pid"])
        another = abs(alive.create_time() - found["began"]) > CLOCK_S
        return another or alive.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def host_of(owner: str) -> str:
    """To be shown."""
    found = json.loads(owner)
    return f"process {found['pid']} on {found['host'].partition(' ')[0]}"


def _place() -> str:
    """Containers may share a host's name, but not its process numbers."""
    space = ""
    with suppress(OSError):
        space = os.readlink(PROCESSES)
    return f"{platform.node()} {space}".strip()
