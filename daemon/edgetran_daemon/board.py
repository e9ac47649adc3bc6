"""Which board this daemon is: the machine itself, or one it emulates."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Optional

import psutil
from edgetran_devices import UnitModel, UnknownBoard, load_board, resolve
from edgetran_protos.errors import UnknownTarget

LOCAL = "local"


@dataclass(frozen=True)
class Board:
    """`model` None: this very machine, whose figures are measured."""

    id: str
    title: str
    unit: str
    soc: str
    cpu_count: int
    memory_bytes: int
    model: Optional[UnitModel]

    @property
    def emulated(self) -> bool:
        return self.model is not None


def this_machine() -> Board:
    spec = load_board(LOCAL)
    return Board(
        id=spec.id,
        title=spec.title,
        unit=spec.default_unit,
        soc=platform.processor() or platform.machine(),
        cpu_count=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        model=None,
    )


def emulated(target: str) -> Board:
    """target: "nano" or "nano:gpu". Raises UnknownTarget."""
    try:
        spec, unit = resolve(target)
    except UnknownBoard as exc:
        raise UnknownTarget(str(exc), hint=exc.hint) from exc
    if unit not in spec.units:
        raise UnknownTarget(
            f"{spec.id} cannot be emulated: it has no model", hint="leave out --emulate"
        )
    return Board(
        id=spec.id,
        title=spec.title,
        unit=unit,
        soc=spec.soc,
        cpu_count=spec.cpu_count,
        memory_bytes=spec.memory_bytes,
        model=spec.units[unit],
    )


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_cores() -> int:
    """Cores that others leave idle, by the load of the last minute; at least one."""
    return max(1, usable_cores() - round(os.getloadavg()[0]))
