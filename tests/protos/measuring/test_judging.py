"""Verdicts: what each reason is given for, and what the figures of known samples are."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from edgetran_protos.measuring.judging import Asked, Judgement, judge
from edgetran_protos.measuring.machine import Conditions
from edgetran_protos.measuring.power import PEAK_WINDOW_S, Sensor, Trace
from edgetran_protos.measuring.reasons import INVALID, REASONS, SUSPECT, VALID, verdict
from edgetran_protos.measuring.series import (
    BLOCK,
    CLIPPED,
    IDLE,
    UNKNOWN,
    Column,
    SeriesError,
    join,
)
from hypothesis import given
from hypothesis import strategies as st

MS, S = 10**6, 10**9
QUIET = Conditions(1, 2, (0,), ("performance",))
METER = Sensor("meter", "whole board", 0.01, counts_energy=False)
STEADY = [10 * MS] * 20


def series(blocks: Sequence[Sequence[int]], **columns: Sequence[int]) -> dict[str, Column]:
    """Runs one after the other, blocks 10 ms apart; further columns as they are given."""
    at, starts, phases = S, [], []
    for block in blocks:
        begun = at
        for run_ns in block:
            starts.append(at)
            at += run_ns
        phases.append((BLOCK, begun, at))
        at += 10 * MS
    kinds, begins, ends = zip(*phases)
    own = {
        "run_ns": [run_ns for block in blocks for run_ns in block],
        "start_ns": starts,
        "block_runs": [len(block) for block in blocks],
        "phase_kind": kinds,
        "phase_from_ns": begins,
        "phase_until_ns": ends,
    }
    return join([{name: np.array(v, np.int64) for name, v in {**own, **columns}.items()}])


def reasons(found: dict[str, Column], conditions: Conditions = QUIET) -> tuple[str, ...]:
    return judge(found, conditions, None, Asked()).reasons


@pytest.mark.parametrize(
    ("blocks", "wanted", "why"),
    [
        ([STEADY, STEADY], VALID, ()),
        ([STEADY[:9]], INVALID, ("too_few_samples",)),
        ([STEADY[:10]], SUSPECT, ("few_samples",)),
        ([STEADY, STEADY[:9]], SUSPECT, ("few_samples",)),
        ([STEADY, STEADY[:10]], VALID, ()),
        ([[10 * MS, 13 * MS] * 10] * 2, SUSPECT, ("latency_scattered",)),
        ([[10 * MS] * 19 + [12 * MS]] * 2, VALID, ()),
        ([[10 * MS] * 18 + [13 * MS] * 2] * 2, SUSPECT, ("latency_scattered",)),
        ([[10 * MS] * 19 + [400 * MS]] * 2, INVALID, ("latency_scattered_widely",)),
        (
            [STEADY, [10_900_000] * 20, STEADY, STEADY],
            SUSPECT,
            ("blocks_disagree",),
        ),
        (
            [STEADY, [10_500_000] * 20, [11_100_000] * 20],
            SUSPECT,
            ("blocks_disagree", "latency_drifted", "batches_correlated"),
        ),
    ],
)
def test_what_the_runs_say(blocks: list[list[int]], wanted: str, why: tuple[str, ...]) -> None:
    found = judge(series(blocks), QUIET, None, Asked())
    assert (found.verdict, found.reasons) == (wanted, why)


LOOKS = {"seen_ns": [S, 2 * S, 3 * S], "seen_unix_ns": [5 * S, 6 * S, 7 * S]}


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (LOOKS, ()),
        ({**LOOKS, "seen_unix_ns": [5 * S, 6 * S, 7 * S + 60 * MS]}, ("clock_stepped",)),
        ({**LOOKS, "seen_unix_ns": [5 * S, 6 * S, 6 * S]}, ("clock_stepped",)),
        ({"throttled": [0, UNKNOWN, 0]}, ()),
        ({"throttled": [0, 1, UNKNOWN]}, ("throttled",)),
        ({"clock_khz": [1000, 1000, 910]}, ()),
        ({"clock_khz": [1000, 1000, 890]}, ("clock_changed",)),
        ({"clock_khz": [1000, UNKNOWN, 1000]}, ()),
        ({"temperature_mc": [40_000, 44_900]}, ()),
        ({"temperature_mc": [40_000, 45_100]}, ("temperature_drifted",)),
        ({"reference_runs": [1, 1, 1], "reference_ns": [MS, MS, 1_090_000]}, ()),
        ({"reference_runs": [1, 1, 1], "reference_ns": [MS, MS, 1_110_000]}, ("machine_drifted",)),
        ({"waited_ns": [3 * MS, 3 * MS]}, ()),
        ({"waited_ns": [5 * MS, 5 * MS]}, ("waited_for_a_core",)),
        ({"waited_ns": [11 * MS, 0]}, ("waited_for_a_core",)),
        ({"waited_ns": [UNKNOWN, UNKNOWN]}, ()),
        ({"others_ns": [19 * MS, 19 * MS]}, ()),
        ({"others_ns": [0, 21 * MS]}, ("other_work_on_its_cores",)),
        ({"observer_ns": [9 * MS, 9 * MS]}, ()),
        ({"observer_ns": [11 * MS, 11 * MS]}, ("observer_too_dear",)),
        ({"warm_up_ns": [MS] * 100}, ()),
        ({"warm_up_ns": [2 * MS] * 50 + [MS] * 20}, ("warm_up_not_steady",)),
    ],
)
def test_what_the_machine_says(columns: dict[str, list[int]], why: tuple[str, ...]) -> None:
    """Two blocks of 200 ms each."""
    assert reasons(series([STEADY, STEADY], **columns)) == why


def test_time_does_not_go_backwards() -> None:
    found = series([STEADY, STEADY])
    found["start_ns"] = found["start_ns"].copy()
    found["start_ns"][5] -= 1
    assert reasons(found) == ("time_went_backwards",)
    assert verdict(reasons(found)) == INVALID


def test_a_pause_between_runs_is_seen() -> None:
    found = series([STEADY, STEADY])
    found["start_ns"] = found["start_ns"].copy()
    found["start_ns"][10:] += 300 * MS
    assert reasons(found) == ("runs_paused",)


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        (replace(QUIET, governors=()), ()),
        (replace(QUIET, governors=("performance", "ondemand")), ("governor_not_fixed",)),
        (replace(QUIET, threads=3), ("more_threads_than_cores",)),
        (replace(QUIET, served_meanwhile=True), ("served_requests_meanwhile",)),
    ],
)
def test_what_the_conditions_say(conditions: Conditions, why: tuple[str, ...]) -> None:
    assert reasons(series([STEADY, STEADY]), conditions) == why


def test_what_was_asked_for_is_told_apart() -> None:
    blocks = series([STEADY, [11 * MS] * 10 + [10 * MS] * 10, STEADY])
    assert "broke_off" in judge(blocks, QUIET, None, Asked(complete=False)).reasons
    assert "interval_too_wide" in judge(blocks, QUIET, None, Asked(half_width=1e-6)).reasons
    assert "interval_too_wide" not in judge(blocks, QUIET, None, Asked(half_width=0.5)).reasons


@given(st.lists(st.sampled_from(sorted(REASONS)), unique=True))
def test_a_verdict_is_valid_exactly_when_nothing_speaks_against_it(names: list[str]) -> None:
    found = verdict(names)
    assert (found == VALID) == (not names)
    assert (found == INVALID) == any(REASONS[name].grave for name in names)


def test_without_a_block_there_is_nothing_to_judge() -> None:
    with pytest.raises(SeriesError):
        judge(join([]), QUIET, None, Asked())
    lost = series([STEADY])
    lost["phase_kind"] = lost["phase_kind"] + 9
    with pytest.raises(SeriesError):
        judge(lost, QUIET, None, Asked())


# --- energy ---


def powered(idle_w: float, load_w: float, **changed: Any) -> Judgement:
    """Idle 1 s, two blocks of 200 runs of 10 ms, idle 1 s; 100 noisy readings a second."""
    found = series([[10 * MS] * 200] * 2)
    rng = np.random.default_rng(0)
    at_ns = np.arange(-3 * S, 9 * S, 10 * MS)
    idle = [(-2 * S, -1 * S), (6 * S, 7 * S)]
    found["phase_kind"] = np.concatenate((found["phase_kind"], [IDLE, IDLE]))
    for name, side in (("phase_from_ns", 0), ("phase_until_ns", 1)):
        found[name] = np.concatenate((found[name], [window[side] for window in idle]))
    working = (at_ns > 0.9 * S) & (at_ns < 5.2 * S)
    watts = np.where(working, load_w, idle_w) * rng.normal(1, 0.005, len(at_ns))
    found["power_ns"] = at_ns
    found["power_value"] = np.round(watts * 1e6).astype(np.int64)
    found["power_rails"] = np.ones(len(at_ns), np.int64)
    sensor = changed.pop("sensor", METER)
    for name, change in changed.items():
        found[name] = change(found[name].copy())
    return judge(found, QUIET, sensor, Asked())


def test_gross_net_and_peak() -> None:
    found = powered(2.0, 5.0)
    assert found.reasons == ()
    figures = found.figures
    assert figures.energy_j is not None
    assert figures.energy_net_j is not None
    assert figures.energy_j.value == pytest.approx(5.0 * 0.01, rel=0.01)
    assert figures.energy_net_j.value == pytest.approx(3.0 * 0.01, rel=0.01)
    assert figures.idle_power_w == pytest.approx(2.0, rel=0.01)
    assert figures.load_power_w == pytest.approx(5.0, rel=0.01)
    assert figures.peak_power_w == pytest.approx(5.0, rel=0.02)
    assert figures.peak_power_w >= figures.load_power_w


def at(places: slice, value: int) -> Callable[[Column], Column]:
    def change(column: Column) -> Column:
        column[places] = value
        return column

    return change


LIKE = replace(METER, idle_w=2.0, load_w=5.0)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sensor": LIKE}, ()),
        ({"sensor": replace(LIKE, idle_w=20.0, load_w=50.0)}, ("power_implausible",)),
        ({"sensor": replace(LIKE, idle_w=1.0, load_w=2.5)}, ("power_implausible",)),
        ({"sensor": replace(METER, full_scale_w=5.0)}, ("sensor_saturated",)),
        ({"sensor": replace(METER, rails=2)}, ("power_rail_missing",)),
        ({"power_rails": at(slice(50, 51), 0)}, ("power_rail_missing",)),
        ({"power_value": at(slice(500, 501), CLIPPED)}, ("sensor_saturated",)),
        ({"power_value": at(slice(500, 501), UNKNOWN)}, ("sensor_vanished",)),
        ({"power_value": at(slice(450, 650), 5 * 10**6)}, ("sensor_stale",)),
        ({"power_value": at(slice(0, None), 5 * 10**6)}, ("sensor_stale",)),
    ],
)
def test_what_the_power_sensor_says(changed: dict[str, Any], why: tuple[str, ...]) -> None:
    found = powered(2.0, 5.0, **changed)
    assert found.reasons == why
    kept = not why or why == ("power_implausible",)
    assert (found.figures.energy_j is not None) == kept
    assert (found.figures.peak_power_w is not None) == kept


def test_a_slow_sensor_gives_no_peak() -> None:
    found = powered(2.0, 5.0, sensor=replace(METER, period_s=0.2))
    assert found.figures.peak_power_w is None
    assert found.figures.energy_j is not None


@given(st.lists(st.floats(0.1, 50), min_size=3, max_size=40), st.integers(0, 10**6))
def test_a_counter_of_joules_and_a_meter_of_watts_agree(watts: list[float], seed: int) -> None:
    """The counter of what the meter's trapezoids add up to."""
    rng = np.random.default_rng(seed)
    at_ns = np.cumsum(rng.integers(MS, 50 * MS, len(watts)))
    steps = np.diff(at_ns) / 1e9 * (np.array(watts[1:]) + watts[:-1]) / 2
    joules = np.concatenate(([7.0], 7.0 + np.cumsum(steps)))

    def trace(values: Any, counts: bool) -> Trace:
        column = np.round(np.asarray(values) * 1e6).astype(np.int64)
        found = {"power_ns": at_ns, "power_value": column}
        return Trace(found, replace(METER, counts_energy=counts))

    by_watts, by_joules = trace(watts, False), trace(joules, True)
    begun, ended = int(at_ns[0]), int(at_ns[-1])
    whole = by_watts.energy_j(begun, ended)
    assert whole == pytest.approx(by_joules.energy_j(begun, ended), abs=1e-5)
    middle = (begun + ended) // 2
    parts = by_watts.energy_j(begun, middle) + by_watts.energy_j(middle, ended)
    assert parts == pytest.approx(whole)


@given(st.lists(st.floats(0.1, 50), min_size=30, max_size=60))
def test_the_peak_is_the_largest_mean_over_its_window(watts: list[float]) -> None:
    """Against all windows that begin on a fine grid."""
    at_ns = np.arange(len(watts)) * 10 * MS
    column = np.round(np.array(watts) * 1e6).astype(np.int64)
    trace = Trace({"power_ns": at_ns, "power_value": column}, METER)
    end_ns = int(at_ns[-1])
    window_ns = round(PEAK_WINDOW_S * 1e9)
    slow = max(trace.power_w(t, t + window_ns) for t in range(0, end_ns - window_ns + 1, MS // 2))
    peak_w = trace.peak_w([(0, end_ns)])
    assert peak_w is not None
    assert slow <= peak_w + 1e-9
    assert peak_w <= slow * 1.02 + 0.2
    assert trace.peak_w([(0, window_ns - 1)]) is None


# --- simulated boards ---


@pytest.fixture(scope="module")
def simulated(root: Path) -> ModuleType:
    path = root / "benchmarks" / "simulated_boards.py"
    spec = importlib.util.spec_from_file_location("simulated_boards", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated_boards"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_faults_of_simulated_boards_are_named_and_sound_ones_pass(simulated: ModuleType) -> None:
    """A few of those that benchmarks/bench_verdicts.py judges by the hundred."""
    for number in range(5):
        rng = np.random.default_rng([1, 0, number])
        assert simulated.judged(simulated.sound(rng), rng).verdict == VALID
    for kind, (break_it, names) in simulated.FAULTS.items():
        rng = np.random.default_rng([7, len(kind)])
        found = simulated.judged(break_it(simulated.sound(rng), rng), rng).reasons
        assert set(found) & names, (kind, found)


def test_every_reason_has_a_row_in_the_documentation(root: Path) -> None:
    text = (root / "docs" / "measurement.md").read_text()
    assert [name for name in REASONS if f"| `{name}` |" not in text] == []
