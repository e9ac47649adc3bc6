"""What the machine did while a model was measured: throttling, clocks, heat, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran_protos.measuring.levels import moved
from edgetran_protos.measuring.series import BLOCK, Column, Series, cut, known, phases

STEP_S = 0.05  # no clock is slewed so far between two looks
CLOCK_FELL = 0.10
HEAT_C = 5.0
PAUSE_S = 0.25
WAITED = 0.02  # of the time of all blocks, a thread
WAITED_IN_A_BLOCK = 0.05
OTHERS_IN_A_BLOCK = 0.10  # of the time of its cores
OBSERVER = 0.05  # of a core
FIXED = {"performance", "userspace"}


@dataclass(frozen=True)
class Conditions:
    """What held for the whole measurement."""

    threads: int
    usable_cores: int
    cores: Sequence[int] = ()  # that the model was pinned to; empty: to none
    governors: Sequence[str] = ()  # of those cores; empty: this machine cannot tell
    served_meanwhile: bool = False


def faults(series: Series, conditions: Conditions) -> list[str]:
    """Names of reasons.REASONS."""
    throttled = known(series["throttled"])
    temperature_c = known(series["temperature_mc"]) / 1000
    clock = known(series["clock_khz"])
    block_ns = np.array([until - begun for begun, until in phases(series, BLOCK)], np.int64)
    holds = {
        "machine_drifted": moved(reference_levels_s(series)),
        "throttled": bool((throttled > 0).any()),
        "clock_changed": bool(len(clock) and clock.min() < (1 - CLOCK_FELL) * np.median(clock)),
        "governor_not_fixed": not set(conditions.governors) <= FIXED,
        "temperature_drifted": bool(len(temperature_c) and np.ptp(temperature_c) > HEAT_C),
        "clock_stepped": stepped(series),
        "time_went_backwards": backwards(series),
        "runs_paused": paused(series),
        "waited_for_a_core": _waited(series["waited_ns"], block_ns, conditions.threads),
        "other_work_on_its_cores": _took(
            series["others_ns"], block_ns, OTHERS_IN_A_BLOCK * max(1, len(conditions.cores))
        ),
        "observer_too_dear": share(series["observer_ns"], block_ns) > OBSERVER,
        "more_threads_than_cores": conditions.threads > conditions.usable_cores,
        "served_requests_meanwhile": conditions.served_meanwhile,
    }
    return [name for name, true in holds.items() if true]


def reference_levels_s(series: Series) -> list[float]:
    """The median of each slot of the reference workload that ran."""
    slots = cut(series["reference_ns"], series["reference_runs"])
    return [float(np.median(slot)) / 1e9 for slot in slots if len(slot)]


def stepped(series: Series) -> bool:
    offset_s = (series["seen_unix_ns"] - series["seen_ns"]) / 1e9
    return bool(len(offset_s) > 1 and np.abs(np.diff(offset_s)).max() > STEP_S)


def backwards(series: Series) -> bool:
    start, run = series["start_ns"], series["run_ns"]
    return bool((run <= 0).any() or (start[1:] < start[:-1] + run[:-1]).any())


def paused(series: Series) -> bool:
    begun = cut(series["start_ns"], series["block_runs"])
    took = cut(series["run_ns"], series["block_runs"])
    gaps = [b[1:] - b[:-1] - t[:-1] for b, t in zip(begun, took)]
    return any(bool((gap > PAUSE_S * 1e9).any()) for gap in gaps)


def share(spent_ns: Column, block_ns: Column) -> float:
    """Of the blocks' time; 0 when this machine cannot tell."""
    seen = known(spent_ns)
    return float(seen.sum() / block_ns.sum()) if len(seen) == len(block_ns) > 0 else 0.0


def _waited(waited_ns: Column, block_ns: Column, threads: int) -> bool:
    whole = share(waited_ns, block_ns) > WAITED * threads
    return whole or _took(waited_ns, block_ns, WAITED_IN_A_BLOCK * threads)


def _took(spent_ns: Column, block_ns: Column, limit: float) -> bool:
    """In some block more than this share of its time."""
    if len(spent_ns) != len(block_ns):
        return False
    seen = spent_ns >= 0
    return bool((spent_ns[seen] > limit * block_ns[seen]).any())
