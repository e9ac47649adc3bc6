"""Which board this daemon is: the machine itself, or one it emulates."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Optional

import psutil
from edgetran_devices import RESIDENT, UnitModel, UnknownBoard, load_board, resolve
from edgetran_protos.errors import UnknownTarget, UsageError

LOCAL = "local"
LOOK_S = 0.2  # long enough for the clock ticks that the system counts in


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
    calibration: str = ""  # of an emulated board: which of its models answers
    seed: Optional[int] = None  # of a published calibration's scatter; None: without

    @property
    def emulated(self) -> bool:
        return self.model is not None

    @property
    def place(self) -> str:
        """Whose measured promises this machine's times can keep; empty: nobody's."""
        return "" if self.emulated else f"{self.id}:{self.unit}"


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


def emulated(target: str, calibration: str = RESIDENT, seed: Optional[int] = None) -> Board:
    """target: "nano" or "nano:gpu". Raises UnknownTarget, UsageError."""
    try:
        spec, unit = resolve(target)
    except UnknownBoard as exc:
        raise UnknownTarget(str(exc), hint=exc.hint) from exc
    if unit not in spec.units:
        raise UnknownTarget(
            f"{spec.id} cannot be emulated: it has no model", hint="leave out --emulate"
        )
    known = spec.units[unit].calibration_names
    if calibration not in known:
        raise UsageError(
            f"{spec.id}:{unit} has no calibration {calibration!r}",
            hint=f"it has: {', '.join(known)}",
        )
    if seed is not None and calibration == RESIDENT:
        raise UsageError(
            "the resident calibration does not scatter", hint="leave out --calibration-seed"
        )
    return Board(
        id=spec.id,
        title=spec.title,
        unit=unit,
        soc=spec.soc,
        cpu_count=spec.cpu_count,
        memory_bytes=spec.memory_bytes,
        model=spec.units[unit],
        calibration=calibration,
        seed=seed,
    )


def usable_cores() -> int:
    return len(own_cores())


def free_cores(look_s: float = LOOK_S) -> int:
    """Cores that others leave idle while one looks; at least one."""
    busy = psutil.cpu_percent(look_s, percpu=True)
    cores = [core for core in own_cores() if core < len(busy)]
    idle = sum(1 - busy[core] / 100 for core in cores)
    return max(1, round(idle))


def own_cores() -> list[int]:
    """Numbers of the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
