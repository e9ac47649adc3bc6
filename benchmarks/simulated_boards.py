"""Boards that were never there: raw samples of sound measurements, and of faulty ones.

`sound(rng)` draws a board and what one measurement on it would have seen. Each function of
FAULTS breaks such a measurement in one way, by a size that it draws too. What comes out has
the shape of a real measurement's samples, so the daemon's own judging runs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from edgetran_protos.measuring.judging import Asked, Judgement, judge
from edgetran_protos.measuring.machine import Conditions
from edgetran_protos.measuring.power import Sensor
from edgetran_protos.measuring.series import BLOCK, IDLE, REFERENCE, UNKNOWN, WARM_UP, join

Floats = np.ndarray[Any, np.dtype[np.float64]]
REFERENCE_RUNS = 40
REFERENCE_S = 0.15  # a slot
IDLE_S = 1.0
WARM_UP_S = 1.5
LOOK_S = 0.5


@dataclass
class Simulated:
    """One measurement: phases on one clock, work by run, looks and readings by time."""

    phases: list[tuple[int, float, float]]  # kind, from, until; seconds
    warm_up_s: Floats
    blocks_s: list[Floats]
    starts_s: list[Floats]
    reference_s: list[Floats]
    seen_s: Floats
    offset_s: Floats  # wall clock less the monotonic one, a look
    temperature_c: Floats  # nan: cannot tell
    clock_hz: Floats
    throttled: Floats
    waited_s: Floats  # a block
    others_s: Floats
    observer_s: Floats
    power_at_s: Floats
    power_w: Floats  # true power
    power_noise: float
    power_step_w: float  # of the sensor's converter
    rails: Floats  # that answer, a reading
    sensor: Sensor
    conditions: Conditions

    @property
    def span_s(self) -> tuple[float, float]:
        """From the first timed block to the last."""
        blocks = [(begun, until) for kind, begun, until in self.phases if kind == BLOCK]
        return blocks[0][0], blocks[-1][1]


def sound(rng: np.random.Generator) -> Simulated:
    latency_s = float(np.exp(rng.uniform(np.log(5e-4), np.log(5e-2))))
    scatter = rng.uniform(0.003, 0.02)
    blocks = int(rng.integers(5, 11))
    runs = int(np.clip(1.0 / latency_s, 100, 2000))
    at_s, phases = rng.uniform(10, 1e6), []

    def phase(kind: int, lasts_s: float) -> float:
        nonlocal at_s
        begun, at_s = at_s, at_s + lasts_s
        phases.append((kind, begun, at_s))
        at_s += rng.uniform(0.002, 0.01)
        return begun

    phase(IDLE, IDLE_S)
    warm_up = _runs(rng, latency_s, scatter, max(60, int(WARM_UP_S / latency_s)))
    settling = 1 + rng.uniform(0, 1.0) * np.exp(-np.arange(len(warm_up)) / rng.uniform(1, 6))
    warm_up = warm_up * settling
    phase(WARM_UP, float(warm_up.sum()))
    found, starts, reference = [], [], []
    reference_scatter = rng.uniform(0.003, 0.015)
    for _ in range(blocks):
        phase(REFERENCE, REFERENCE_S)
        reference.append(_runs(rng, 4e-3, reference_scatter, REFERENCE_RUNS))
        found.append(_runs(rng, latency_s, scatter, runs))
        begun = phase(BLOCK, float(found[-1].sum()) + 1e-6 * runs)
        starts.append(begun + np.concatenate(([0.0], np.cumsum(found[-1] + 1e-6)[:-1])))
    phase(REFERENCE, REFERENCE_S)
    reference.append(_runs(rng, 4e-3, reference_scatter, REFERENCE_RUNS))
    phase(IDLE, IDLE_S)
    lasted_s = np.array([until - begun for kind, begun, until in phases if kind == BLOCK])
    seen_s = np.arange(phases[0][1], phases[-1][2], LOOK_S)
    heat_c = 40 + rng.uniform(0, 15)
    warming = rng.uniform(0, 4) * (1 - np.exp(-(seen_s - seen_s[0]) / rng.uniform(2, 30)))
    period_s = float(rng.choice([0.01, 0.02, 0.05, 0.1]))
    power_at_s = np.arange(phases[0][1] - period_s, phases[-1][2] + 2 * period_s, period_s)
    power_at_s = power_at_s + rng.uniform(0, 0.1 * period_s, len(power_at_s))
    idle_w = rng.uniform(1.0, 3.0)
    load_w = idle_w * rng.uniform(1.4, 3.0)
    busy = np.zeros(len(power_at_s), bool)
    for kind, begun, until in phases:
        if kind != IDLE:
            busy |= (power_at_s >= begun) & (power_at_s <= until)
    rails = int(rng.integers(1, 4))
    like = rng.lognormal(0, 0.08, 2)  # boards of a kind differ
    return Simulated(
        phases=phases,
        warm_up_s=warm_up,
        blocks_s=found,
        starts_s=starts,
        reference_s=reference,
        seen_s=seen_s,
        offset_s=1.7e9 + 2e-5 * seen_s + rng.normal(0, 2e-5, len(seen_s)),
        temperature_c=_unless(rng, 0.1, heat_c + warming + rng.normal(0, 0.2, len(seen_s))),
        clock_hz=_unless(rng, 0.2, np.full(len(seen_s), 1.4e9)),
        throttled=_unless(rng, 0.4, np.zeros(len(seen_s))),
        waited_s=_unless(rng, 0.3, lasted_s * rng.uniform(0, 0.01, blocks)),
        others_s=_unless(rng, 0.3, lasted_s * rng.uniform(0, 0.04, blocks)),
        observer_s=lasted_s * rng.uniform(0, 0.015, blocks),
        power_at_s=power_at_s,
        power_w=np.where(busy, load_w, idle_w),
        power_noise=rng.uniform(0.005, 0.02),
        power_step_w=rng.uniform(0.004, 0.040),
        rails=np.full(len(power_at_s), float(rails)),
        sensor=Sensor(
            "simulated",
            "whole board",
            period_s,
            False,
            rails,
            None,
            idle_w * like[0],
            load_w * like[1],
        ),
        conditions=Conditions(1, 4, (0,), ("performance",)),
    )


def judged(one: Simulated, rng: np.random.Generator) -> Judgement:
    """By the code that judges a real measurement."""
    noisy = one.power_w * (1 + rng.normal(0, one.power_noise, len(one.power_w)))
    read_w = np.round(noisy / one.power_step_w) * one.power_step_w
    if one.sensor.full_scale_w is not None:
        read_w = np.minimum(read_w, one.sensor.full_scale_w)
    return judge(samples(one, read_w), one.conditions, one.sensor, Asked())


def samples(one: Simulated, read_w: Floats) -> dict[str, Any]:
    kinds, begun, until = zip(*one.phases)
    return join(
        [
            {
                "warm_up_ns": _ns(one.warm_up_s),
                "block_runs": np.array([len(block) for block in one.blocks_s]),
                "start_ns": _ns(np.concatenate(one.starts_s)),
                "run_ns": _ns(np.concatenate(one.blocks_s)),
                "waited_ns": _ns(one.waited_s),
                "others_ns": _ns(one.others_s),
                "observer_ns": _ns(one.observer_s),
                "reference_runs": np.array([len(slot) for slot in one.reference_s]),
                "reference_ns": _ns(np.concatenate(one.reference_s)),
                "phase_kind": np.array(kinds),
                "phase_from_ns": _ns(np.array(begun)),
                "phase_until_ns": _ns(np.array(until)),
                "seen_ns": _ns(one.seen_s),
                "seen_unix_ns": _ns(one.seen_s) + _ns(one.offset_s),
                "temperature_mc": _whole(one.temperature_c * 1e3),
                "clock_khz": _whole(one.clock_hz / 1e3),
                "throttled": _whole(one.throttled),
                "power_ns": _ns(one.power_at_s),
                "power_value": _whole(read_w * 1e6),
                "power_rails": _whole(one.rails),
            }
        ]
    )


# --- what can go wrong ---


def drifts(one: Simulated, rng: np.random.Generator) -> Simulated:
    """All work becomes slower, or faster, by 5 to 30 % from the first block to the last."""
    size = rng.uniform(0.05, 0.30) * rng.choice([-1, 1])
    begun, until = one.span_s
    return slowed(one, lambda at_s: 1 + size * np.clip((at_s - begun) / (until - begun), 0, 1))


def throttles(one: Simulated, rng: np.random.Generator) -> Simulated:
    """From some moment on at 50 to 85 % of the clock; what tells of it may not."""
    begun, until = one.span_s
    since_s, speed = begun + rng.uniform(0.05, 0.8) * (until - begun), rng.uniform(0.5, 0.85)
    slow = one.seen_s >= since_s
    told = slowed(one, lambda at_s: np.where(at_s >= since_s, 1 / speed, 1.0))
    return replace(
        told,
        clock_hz=np.where(slow, one.clock_hz * speed, one.clock_hz),
        throttled=np.where(slow & ~np.isnan(one.throttled), 1.0, one.throttled),
        power_w=np.where(one.power_at_s >= since_s, one.power_w * rng.uniform(0.8, 1), one.power_w),
    )


def goes_stale(one: Simulated, rng: np.random.Generator) -> Simulated:
    """The sensor repeats a reading for a second or more, or says one thing all the time."""
    begun, until = one.span_s
    since_s = begun - IDLE_S + rng.uniform(0, 0.7) * (until - begun)
    lasts_s = rng.uniform(1.0, until - since_s) if rng.random() < 0.7 else np.inf
    stuck = (one.power_at_s >= since_s) & (one.power_at_s <= since_s + lasts_s)
    if rng.random() < 0.1:
        stuck[:] = True
    return _reading(one, rng, stuck)


def saturates(one: Simulated, rng: np.random.Generator) -> Simulated:
    """Power under load lies above the sensor's full scale, which it may not know."""
    idle_w, load_w = one.power_w.min(), one.power_w.max()
    top_w = idle_w + rng.uniform(0.3, 0.9) * (load_w - idle_w)
    if rng.random() < 0.5:
        return replace(one, sensor=replace(one.sensor, full_scale_w=top_w))
    return _clipped(one, rng, top_w)


def clock_steps(one: Simulated, rng: np.random.Generator) -> Simulated:
    """Somebody sets the clock, by a tenth of a second to an hour."""
    begun, until = one.span_s
    step_s = float(np.exp(rng.uniform(np.log(0.1), np.log(3600)))) * rng.choice([-1, 1])
    after = one.seen_s >= rng.uniform(begun, until)
    return replace(one, offset_s=one.offset_s + np.where(after, step_s, 0.0))


def loses_a_rail(one: Simulated, rng: np.random.Generator) -> Simulated:
    """One rail does not answer, or reads nothing from some moment on, or all the time.

    All the time and unnoticed it is one that carries most of the power: a small one cannot
    be told from a thrifty board.
    """
    way = rng.choice(["told", "midway", "always"], p=[0.4, 0.4, 0.2])
    begun, until = one.span_s
    since_s = begun + rng.uniform(0.1, 0.8) * (until - begun)
    gone = one.power_at_s >= (0 if way == "always" else since_s)
    share = rng.uniform(0.45, 0.8) if way == "always" else rng.uniform(0.2, 0.7)
    return replace(
        one,
        power_w=np.where(gone, one.power_w * (1 - share), one.power_w),
        rails=np.where(gone, one.rails - 1, one.rails) if way == "told" else one.rails,
    )


def has_a_noisy_neighbour(one: Simulated, rng: np.random.Generator) -> Simulated:
    """Another program works 15 to 60 % of the time, and slows all work by 20 to 100 % then."""
    share, size = rng.uniform(0.15, 0.6), rng.uniform(0.2, 1.0)
    period_s, first_s = rng.uniform(0.1, 5.0), rng.uniform(0, 5)

    def factor(at_s: Floats) -> Floats:
        return np.where(((at_s + first_s) / period_s) % 1 < share, 1 + size, 1.0)

    told = slowed(one, factor)
    grown = np.array([after.sum() - was.sum() for after, was in zip(told.blocks_s, one.blocks_s)])
    return replace(told, waited_s=one.waited_s + grown, others_s=one.others_s + grown)


def has_a_wrong_shunt(one: Simulated, rng: np.random.Generator) -> Simulated:
    """All power is off by the ratio of two resistors that are sold."""
    factor = rng.choice([0.1, 0.2, 0.5, 2.0, 5.0, 10.0])
    step_w = one.power_step_w * factor
    return replace(one, power_w=one.power_w * factor, power_step_w=step_w)


def loses_its_sensor(one: Simulated, rng: np.random.Generator) -> Simulated:
    """The sensor stops answering: readings fail, or there are none any more."""
    begun, until = one.span_s
    since_s = begun + rng.uniform(0, 0.8) * (until - begun)
    gone = one.power_at_s >= since_s
    if rng.random() < 0.5:
        return replace(one, power_w=np.where(gone, np.nan, one.power_w))
    kept = ~gone
    return replace(
        one, power_at_s=one.power_at_s[kept], power_w=one.power_w[kept], rails=one.rails[kept]
    )


Fault = Callable[[Simulated, np.random.Generator], Simulated]
FAULTS: dict[str, tuple[Fault, frozenset[str]]] = {  # and the reasons that name it
    "drift": (drifts, frozenset({"machine_drifted", "latency_drifted"})),
    "throttling": (throttles, frozenset({"throttled", "clock_changed", "machine_drifted"})),
    "stale sensor": (goes_stale, frozenset({"sensor_stale"})),
    "saturated sensor": (saturates, frozenset({"sensor_saturated"})),
    "clock step": (clock_steps, frozenset({"clock_stepped"})),
    "missing rail": (
        loses_a_rail,
        frozenset({"power_rail_missing", "power_implausible", "power_blocks_disagree"}),
    ),
    "noisy neighbour": (
        has_a_noisy_neighbour,
        frozenset({"waited_for_a_core", "other_work_on_its_cores", "latency_scattered"}),
    ),
    "wrong shunt": (has_a_wrong_shunt, frozenset({"power_implausible"})),
    "sensor gone": (loses_its_sensor, frozenset({"sensor_vanished"})),
}


def slowed(one: Simulated, factor: Callable[[Floats], Floats]) -> Simulated:
    """All work takes factor(when) times as long. Its phases stay: only sums would change."""
    reference = [
        slot * factor(np.linspace(begun, until, len(slot)))
        for slot, (begun, until) in zip(one.reference_s, _of(one, REFERENCE))
    ]
    blocks = [block * factor(at) for block, at in zip(one.blocks_s, one.starts_s)]
    starts = [
        at[0] + np.concatenate(([0.0], np.cumsum(block + 1e-6)[:-1]))
        for block, at in zip(blocks, one.starts_s)
    ]
    later = 0.0  # every block begins when the one before it has ended
    for number, block in enumerate(blocks):
        starts[number] = starts[number] + later
        later += float(block.sum() - one.blocks_s[number].sum())
    moved, count, late = [], 0, 0.0
    for kind, begun, until in one.phases:
        grown = float(blocks[count].sum() - one.blocks_s[count].sum()) if kind == BLOCK else 0.0
        moved.append((kind, begun + late, until + late + grown))
        late += grown
        count += kind == BLOCK
    return replace(one, reference_s=reference, blocks_s=blocks, starts_s=starts, phases=moved)


def _of(one: Simulated, kind: int) -> list[tuple[float, float]]:
    return [(begun, until) for found, begun, until in one.phases if found == kind]


def _reading(one: Simulated, rng: np.random.Generator, stuck: Any) -> Simulated:
    """What the sensor would have said, with the first reading of `stuck` throughout it."""
    noisy = one.power_w * (1 + rng.normal(0, one.power_noise, len(one.power_w)))
    held = np.where(stuck, noisy[np.argmax(stuck)], noisy)
    return replace(one, power_w=held, power_noise=0.0)


def _clipped(one: Simulated, rng: np.random.Generator, top_w: float) -> Simulated:
    noisy = one.power_w * (1 + rng.normal(0, one.power_noise, len(one.power_w)))
    return replace(one, power_w=np.minimum(noisy, top_w), power_noise=0.0)


def _runs(rng: np.random.Generator, level_s: float, scatter: float, count: int) -> Floats:
    """Neighbours resemble each other a little, and one run in 200 is held up."""
    noise, like = rng.normal(0, scatter, count), rng.uniform(0, 0.3)
    for at in range(1, count):
        noise[at] += like * noise[at - 1]
    held_up = np.where(rng.random(count) < 0.005, rng.uniform(0.1, 0.5, count), 0.0)
    return level_s * (1 + noise + held_up)


def _unless(rng: np.random.Generator, odds: float, values: Floats) -> Floats:
    """nan where a board of so many cannot tell."""
    return np.full(len(values), np.nan) if rng.random() < odds else values


def _ns(seconds: Floats) -> Any:
    return _whole(seconds * 1e9)


def _whole(values: Floats) -> Any:
    return np.where(np.isnan(values), UNKNOWN, np.nan_to_num(values).round()).astype(np.int64)
