"""Why a record is not simply valid: every name a verdict may carry, and what it means.

The names are for machines and stay as they are. INVALID: the figures say nothing of the
board. SUSPECT: they may be off, and the reason says where to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

VALID, SUSPECT, INVALID, MODELLED = "valid", "suspect", "invalid", "modelled"


@dataclass(frozen=True)
class Reason:
    grave: bool
    text: str  # for people: what was seen, and what to do


def _grave(text: str) -> Reason:
    return Reason(True, text)


def _slight(text: str) -> Reason:
    return Reason(False, text)


REASONS = {
    # the runs
    "too_few_samples": _grave("fewer than 10 timed runs"),
    "few_samples": _slight("fewer than 30 timed runs; measure longer"),
    "broke_off": _grave("the measurement ended early; what it had so far is kept"),
    "warm_up_not_steady": _slight("run times still changed when the budget of warm-up was over"),
    "latency_scattered": _slight(
        "runs deviate by more than 10 % of their mean, or one in twenty takes 1.25 medians"
    ),
    "latency_scattered_widely": _grave("the runs' deviation is above their mean"),
    "blocks_disagree": _slight("the blocks' medians deviate by more than 3 %"),
    "latency_drifted": _slight("the blocks' medians moved by 10 %, or steadily by 3 %"),
    "batches_correlated": _slight("runs resemble their neighbours over the longest batches"),
    "interval_too_wide": _slight("the interval that was asked for was not reached"),
    "runs_paused": _slight("more than 0.25 s passed between two runs of a block"),
    # the machine
    "machine_drifted": _slight("the reference workload moved by 10 %, or steadily by 3 %"),
    "throttled": _slight("the board slowed itself down: heat, low voltage or a cap"),
    "clock_changed": _slight("the processor's clock fell by more than a tenth"),
    "governor_not_fixed": _slight("the clock's governor is free; set it to performance"),
    "temperature_drifted": _slight("the temperature moved by more than 5 degrees Celsius"),
    "clock_stepped": _slight("the wall clock was set while measuring"),
    "time_went_backwards": _grave("times of runs overlap or are not above zero"),
    "waited_for_a_core": _slight("the model's threads were ready and had no core: a neighbour"),
    "other_work_on_its_cores": _slight("other work took a tenth of its cores in some block"),
    "observer_too_dear": _slight("the daemon itself took a twentieth of a core while measuring"),
    "more_threads_than_cores": _slight("more threads than the board has cores"),
    "served_requests_meanwhile": _slight("the daemon answered requests of others meanwhile"),
    # the power sensor
    "sensor_vanished": _slight("the power sensor stopped answering; there is no energy figure"),
    "sensor_stale": _slight("the power sensor repeats a reading; there is no energy figure"),
    "sensor_saturated": _slight("power reached the sensor's full scale; no energy figure"),
    "power_rail_missing": _slight("a rail does not answer or reads nothing; no energy figure"),
    "power_implausible": _slight("power is not this board's by a factor: look at the shunt"),
    "power_blocks_disagree": _slight("power moved by 10 % between blocks of the same work"),
    "sensor_too_slow": _slight("fewer than 5 readings a block: energy is rough"),
    # an emulated board
    "board_is_emulated": _slight("times, energy and power are the board's model's"),
    "load_time_of_the_emulating_machine": _slight("loading took so long where the daemon runs"),
    "peak_memory_of_the_emulating_machine": _slight("memory as used where the daemon runs"),
}


def verdict(names: Iterable[str]) -> str:
    """Of a measured record, by its reasons."""
    found = [REASONS[name] for name in names]
    if any(reason.grave for reason in found):
        return INVALID
    return SUSPECT if found else VALID
