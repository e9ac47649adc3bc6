"""The sensor test on sensors that are played: delays, noise, rates and mistakes it has to see."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from edgetran_daemon.measuring.step_response import Phase, SensorReport, report
from edgetran_daemon.sensors.base import Reading, Tally
from edgetran_daemon.sensors.contract import BOARD, Contract
from hypothesis import given, settings
from hypothesis import strategies as st

RATE_HZ, PHASE_S = 50.0, 2.0
CONTRACT = Contract(BOARD, "a board", RATE_HZ, 10.0, "ours", "none")
PHASES = [Phase(100 + n * PHASE_S, 100 + (n + 1) * PHASE_S, bool(n % 2)) for n in range(7)]


def drawn_w(at_s: float, idle_w: float = 2.0, load_w: float = 5.0) -> float:
    number = math.floor((at_s - 100) / PHASE_S)
    return load_w if 0 <= number < 7 and number % 2 else idle_w


def filtered(tau_s: float, rate_hz: float = RATE_HZ, **levels: float) -> list[Reading]:
    """Of a sensor with one time constant."""
    readings, state_w, at_s = [], drawn_w(99.0, **levels), 99.0
    while at_s < PHASES[-1].until_s + 0.5:
        at_s += 1 / rate_hz
        share = 1 - math.exp(-1 / rate_hz / tau_s) if tau_s else 1.0
        state_w += share * (drawn_w(at_s - 0.5 / rate_hz, **levels) - state_w)
        readings.append(Reading(at_s, state_w))
    return readings


def judged(readings: list[Reading], contract: Contract = CONTRACT, stale: int = 0) -> SensorReport:
    faults = sum(bool(one.fault) for one in readings)
    return report("played", contract, readings, PHASES, Tally(len(readings), stale, faults))


def noisy(readings: list[Reading], sigma_w: float, seed: int = 1) -> list[Reading]:
    rng = random.Random(seed)
    return [
        dataclasses.replace(one, value=(one.value or 0.0) + rng.gauss(0, sigma_w))
        for one in readings
    ]


@settings(max_examples=40)
@given(st.floats(0.0, 0.15))
def test_the_delay_is_the_time_constant(tau_s: float) -> None:
    found = judged(filtered(tau_s))
    assert found.delay_s == pytest.approx(tau_s, abs=0.015)
    assert found.passed == (found.delay_s is not None and found.delay_s <= found.allowed_delay_s)
    assert found.idle_w == pytest.approx(2.0, abs=0.01)
    assert found.load_w == pytest.approx(5.0, abs=0.01)


@settings(max_examples=20)
@given(st.floats(0.0, 0.4))
def test_a_stamp_that_is_late_is_the_same_delay(late_s: float) -> None:
    readings = [dataclasses.replace(one, at_s=one.at_s + late_s) for one in filtered(0.0)]
    found = judged(readings)
    assert found.delay_s == pytest.approx(late_s, abs=0.015)
    assert found.passed == (late_s < found.allowed_delay_s) or late_s == pytest.approx(
        found.allowed_delay_s, abs=0.02
    )


def test_a_sensor_that_counts_joules_is_read_alike() -> None:
    counts, joules, last = [], 0.0, None
    for one in filtered(0.05):
        if last is not None:
            joules += ((one.value or 0) + (last.value or 0)) / 2 * (one.at_s - last.at_s)
        counts.append(Reading(one.at_s, joules))
        last = one
    found = judged(counts, dataclasses.replace(CONTRACT, counts_energy=True))
    assert found.passed
    assert found.delay_s == pytest.approx(0.05, abs=0.015)
    assert found.rate_hz == pytest.approx(RATE_HZ, rel=0.15)


def test_noise_is_told_from_a_step() -> None:
    for sigma_w in (0.02, 0.3):
        found = judged(noisy(filtered(0.02), sigma_w))
        assert found.passed, found
        assert found.noise_w == pytest.approx(sigma_w, rel=0.15)


@pytest.mark.parametrize("seed", range(10))
def test_a_sensor_of_another_board_fails(seed: int) -> None:
    readings = noisy(filtered(0.0, load_w=2.0), 0.1, seed)
    found = judged(readings)
    assert any("does not see the board" in reason for reason in found.reasons)


@pytest.mark.parametrize("seed", range(40))
def test_one_step_of_chance_is_not_taken_for_the_board(seed: int) -> None:
    readings = noisy(filtered(0.0, load_w=2.0), 1.0, seed)
    found = report("played", CONTRACT, readings, PHASES[:3], Tally(len(readings)))
    assert any("does not see the board" in reason for reason in found.reasons)


def test_one_that_never_changes_fails() -> None:
    found = judged(filtered(0.0, load_w=2.0))
    assert any("does not see the board" in reason for reason in found.reasons)
    assert found.repeated_share > 0.99
    assert found.delay_s is None


def test_a_shunt_the_other_way_round_is_named() -> None:
    found = judged(filtered(0.02, idle_w=-2.0, load_w=-5.0))
    assert any("other way round" in reason for reason in found.reasons)


def test_one_that_is_slower_than_it_states_fails() -> None:
    found = judged(filtered(0.02, rate_hz=20.0), stale=100)
    assert any("50 are stated" in reason for reason in found.reasons)
    assert found.stale_share == pytest.approx(100 / (100 + 20 * 15.5), rel=0.05)


def test_a_fault_in_the_middle_fails_and_is_quoted() -> None:
    readings = filtered(0.02)
    readings[200] = Reading(readings[200].at_s, None, fault="clipped: too much")
    found = judged(readings)
    assert found.faults == 1
    assert "clipped: too much" in found.reasons[0]


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "too few readings"),
        ([Reading(100 + n, 2.0) for n in range(15)], "too few readings"),
        ([Reading(101.0, None, fault="nothing answers there")], "nothing answers there"),
    ],
)
def test_without_readings_nothing_is_invented(readings: list[Reading], said: str) -> None:
    found = judged(readings)
    assert said in found.reasons[0]
    assert (found.idle_w, found.load_w, found.noise_w, found.delay_s) == (None,) * 4
