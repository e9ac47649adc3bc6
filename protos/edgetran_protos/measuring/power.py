"""Energy and peak power from a sensor's readings, and what is wrong with the readings.

C(t), joules up to t: as the sensor counts them, or the integral of its watts by trapezoids;
linear between readings. A window's energy is C(until) - C(from).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from edgetran_protos.measuring.levels import moved
from edgetran_protos.measuring.percentiles import Floats
from edgetran_protos.measuring.series import BLOCK, CLIPPED, IDLE, UNKNOWN, Column, Series, phases

Flags = np.ndarray[Any, np.dtype[np.bool_]]

PEAK_WINDOW_S = 0.1  # peak power is the largest mean over such a window, on every board
GAP_PERIODS, GAP_S = 8, 0.5  # a longer silence than both: the sensor is gone
STALE_ODDS = 1e-6  # of a stretch of equal readings by chance
STALE_S = 0.3
NEAR_STEPS = 3.5  # of the sensor
FEW_READINGS = 5  # a block
TOP_SHARE = 0.2  # of the readings under load that are the very largest: it is clipped
LEVELS_SEEN = 3  # different readings, so that a sensor is fine enough to judge
FULL = 0.995  # of full scale
FACTOR = 1.6  # a board's power differs from its kind's by less; shunts differ by 2 and more


@dataclass(frozen=True)
class Sensor:
    """What the board says of its power sensor."""

    name: str
    scope: str
    period_s: float  # between readings, as asked for
    counts_energy: bool  # power_value: microjoules so far, not microwatts
    rails: int = 1
    full_scale_w: Optional[float] = None
    idle_w: Optional[float] = None  # of the board's kind, by the catalogue
    load_w: Optional[float] = None  # the same, with as many threads at work


class Trace:
    """Readings that answered, as joules over time."""

    def __init__(self, series: Series, sensor: Sensor) -> None:
        fine = series["power_value"] > CLIPPED
        self.at_ns = series["power_ns"][fine]
        self.at_s = self.at_ns / 1e9
        values = series["power_value"][fine] / 1e6
        steps_s = np.diff(self.at_s)
        self.watts: Floats
        if sensor.counts_energy:
            self.joules: Floats = values
            self.watts = np.diff(values) / np.maximum(steps_s, 1e-9)
            self.watts_at_ns = self.at_ns[1:]
        else:
            spent = (values[1:] + values[:-1]) / 2 * steps_s
            self.joules = np.concatenate(([0.0], np.cumsum(spent)))[: len(values)]
            self.watts, self.watts_at_ns = values, self.at_ns

    def energy_j(self, from_ns: int, until_ns: int) -> float:
        begun, ended = np.interp([from_ns / 1e9, until_ns / 1e9], self.at_s, self.joules)
        return float(ended - begun)

    def power_w(self, from_ns: int, until_ns: int) -> float:
        return self.energy_j(from_ns, until_ns) / ((until_ns - from_ns) / 1e9)

    def within(self, windows: Sequence[tuple[int, int]]) -> Floats:
        """The watts that were read in these windows."""
        parts = [
            self.watts[(self.watts_at_ns >= begun) & (self.watts_at_ns <= ended)]
            for begun, ended in windows
        ]
        return np.concatenate([np.zeros(0), *parts])

    def covers(self, from_ns: int, until_ns: int) -> bool:
        return bool(len(self.at_ns) > 1 and self.at_ns[0] <= until_ns and self.at_ns[-1] >= from_ns)

    def peak_w(self, windows: Sequence[tuple[int, int]]) -> Optional[float]:
        """Largest mean over PEAK_WINDOW_S; None when no window lasts so long."""
        found = [self._peak_w(begun / 1e9, ended / 1e9) for begun, ended in windows]
        seen = [peak for peak in found if peak is not None]
        return max(seen) if seen else None

    def _peak_w(self, begun_s: float, ended_s: float) -> Optional[float]:
        last_s = ended_s - PEAK_WINDOW_S
        if last_s < begun_s:
            return None
        corners = np.concatenate((self.at_s, self.at_s - PEAK_WINDOW_S, [begun_s, last_s]))
        starts = corners[(corners >= begun_s) & (corners <= last_s)]
        after = np.interp(starts + PEAK_WINDOW_S, self.at_s, self.joules)
        return float((after - np.interp(starts, self.at_s, self.joules)).max()) / PEAK_WINDOW_S


@dataclass(frozen=True)
class Power:
    block_j: tuple[float, ...]  # gross, a block
    idle_w: Optional[float]
    load_w: float
    peak_w: Optional[float]


def power(series: Series, sensor: Sensor) -> Optional[Power]:
    """None when the readings do not cover the blocks."""
    trace, blocks = Trace(series, sensor), phases(series, BLOCK)
    if not blocks or not all(trace.covers(*block) for block in blocks):
        return None
    block_j = tuple(trace.energy_j(*block) for block in blocks)
    idle = [window for window in phases(series, IDLE) if trace.covers(*window)]
    idle_s = sum(ended - begun for begun, ended in idle) / 1e9
    fast = sensor.period_s <= PEAK_WINDOW_S
    return Power(
        block_j=block_j,
        idle_w=sum(trace.energy_j(*window) for window in idle) / idle_s if idle_s else None,
        load_w=sum(block_j) / (sum(ended - begun for begun, ended in blocks) / 1e9),
        peak_w=trace.peak_w(blocks) if fast else None,
    )


def faults(series: Series, sensor: Sensor) -> list[str]:
    """Names of reasons.REASONS."""
    trace, blocks = Trace(series, sensor), phases(series, BLOCK)
    if (series["power_value"] == CLIPPED).any():
        return ["sensor_saturated"]
    if vanished(series, sensor):
        return ["sensor_vanished"]
    found = power(series, sensor)
    if found is None or len(trace.watts) < 2:
        return ["sensor_vanished"]
    load = trace.within(blocks)
    holds = {
        "sensor_stale": stale(trace),
        "sensor_saturated": saturated(load, trace.within(phases(series, IDLE)), sensor),
        "power_rail_missing": rail_missing(series, found, sensor),
        "power_implausible": implausible(found, sensor),
        "power_blocks_disagree": moved([trace.power_w(*block) for block in blocks]),
        "sensor_too_slow": len(load) < FEW_READINGS * len(blocks),
    }
    return [name for name, true in holds.items() if true]


NO_FIGURE = {"sensor_vanished", "sensor_stale", "sensor_saturated", "power_rail_missing"}


def vanished(series: Series, sensor: Sensor) -> bool:
    """A reading failed, or none came for long while phases went on."""
    if (series["power_value"] == UNKNOWN).any() or len(series["power_ns"]) < 2:
        return True
    limit_ns = max(GAP_PERIODS * sensor.period_s, GAP_S) * 1e9
    windows = [w for kind in (IDLE, BLOCK) for w in phases(series, kind)]
    at = series["power_ns"]
    return any(_longest_silence(at, begun, ended) > limit_ns for begun, ended in windows)


def _longest_silence(at: Column, begun: int, ended: int) -> int:
    inside = at[(at > begun) & (at < ended)]
    return int(np.diff(np.concatenate(([begun], inside, [ended]))).max())


def stale(trace: Trace) -> bool:
    """A stretch of equal readings longer than chance gives a sensor that repeats itself so often.

    q, the share of equal neighbours outside the stretch, of all readings or of those near its
    own, whichever is larger: a coarse sensor hardly moves. k equal neighbours among n readings
    have odds of about n q^k.
    """
    same = np.abs(np.diff(trace.watts)) <= 1e-6 * np.abs(trace.watts[1:])
    begin, length = _longest_run(same)
    at_s = trace.watts_at_ns / 1e9
    if not length or at_s[min(begin + length, len(at_s) - 1)] - at_s[begin] < STALE_S:
        return False
    if length == len(same):
        return True
    outside = np.ones(len(same), bool)
    outside[begin : begin + length] = False
    steps = np.diff(np.unique(trace.watts))
    near = np.abs(trace.watts[:-1] - trace.watts[begin]) <= NEAR_STEPS * steps[steps > 0].min()
    q = max(_share_of(same, outside), _share_of(same, outside & near))
    return bool(len(same) * q**length < STALE_ODDS)


def _share_of(true: Flags, chosen: Flags) -> float:
    """Laplace's estimate."""
    return (int(true[chosen].sum()) + 1) / (int(chosen.sum()) + 2)


def _longest_run(true: Flags) -> tuple[int, int]:
    """(where it begins, how long it is)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], true.astype(np.int8), [0]))))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    return int(edges[2 * longest]), int(lengths[longest])


def saturated(load: Floats, idle: Floats, sensor: Sensor) -> bool:
    """At full scale, or piled up at the largest reading, by a sensor that is fine at idle."""
    if not len(load):
        return False
    if sensor.full_scale_w is not None:
        return bool(load.max() >= FULL * sensor.full_scale_w)
    top = load >= load.max() * (1 - 1e-6)
    return bool(top.mean() > TOP_SHARE and len(np.unique(idle)) >= LEVELS_SEEN and len(load) > 20)


def rail_missing(series: Series, found: Power, sensor: Sensor) -> bool:
    answered = series["power_rails"]
    most = max(sensor.rails, int(answered.max()))
    return bool((answered < most).any()) or found.load_w <= 0


def implausible(found: Power, sensor: Sensor) -> bool:
    """By a factor, at idle and under load, from what boards of the kind draw."""
    pairs = [(found.idle_w, sensor.idle_w), (found.load_w, sensor.load_w)]
    ratios = [measured / usual for measured, usual in pairs if measured is not None and usual]
    if not ratios:
        return False
    if min(ratios) <= 0:
        return True
    return bool(abs(float(np.mean(np.log(ratios)))) > np.log(FACTOR))
