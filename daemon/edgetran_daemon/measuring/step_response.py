"""Whether a power sensor follows the board: what its readings say of steps of load.

The board is idle, works on all cores, is idle again, and so on. E joules in a phase of T
seconds, P0 watts before it and P1 when it has settled, make a delay of

    (P1 T - E) / (P1 - P0)

seconds: the mean of the sensor's answer to an impulse, whatever its shape. A mean over a
window that is stamped in its middle has none, a first-order filter its time constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
from edgetran_protos.measuring.power import Sensor, Trace

from edgetran_daemon.sensors.base import Reading, Tally
from edgetran_daemon.sensors.contract import Contract

SLACK_S = 0.1  # boards and their supplies take some time themselves
ALLOWED_PERIODS = 0.5  # of the bandwidth: a mean that is stamped at its end stays within
SURE = 3.0  # standard errors
LEAST_RISE = 0.01  # of idle: less is no work of all cores
LEAST_RATE = 0.7  # of what the contract states
FEW = 3  # readings in the half of a phase that counts


@dataclass(frozen=True)
class Phase:
    from_s: float
    until_s: float
    loaded: bool

    @property
    def settled_s(self) -> float:
        return (self.from_s + self.until_s) / 2


@dataclass(frozen=True)
class SensorReport:
    """None: the readings do not tell."""

    sensor: str
    reasons: tuple[str, ...]  # why it failed; empty when it passed
    idle_w: Optional[float]
    load_w: Optional[float]
    noise_w: Optional[float]  # of a reading of the idle board, one standard deviation
    delay_s: Optional[float]
    allowed_delay_s: float
    rate_hz: float  # new readings
    stated_rate_hz: float
    stale_share: float  # of all looks: the hardware had nothing new
    repeated_share: float  # of all readings: the same as the one before
    faults: int

    @property
    def passed(self) -> bool:
        return not self.reasons


def report(
    name: str,
    contract: Contract,
    readings: Sequence[Reading],
    phases: Sequence[Phase],
    tally: Tally,
) -> SensorReport:
    """tally: of the looks meanwhile; the phases take turns, the first and the last idle."""
    faults = [one.fault for one in readings if one.fault]
    good = [one for one in readings if not one.fault]
    trace = _trace(name, contract, good)
    looks = tally.new + tally.stale
    duration_s = phases[-1].until_s - phases[0].from_s
    repeated = int((np.diff([one.value or 0.0 for one in good]) == 0).sum()) if good else 0
    fresh = len(good) - repeated if contract.counts_energy else len(good)
    known = _levels(trace, phases)
    noise_w = _noise_w(trace, phases) if known else None
    found = SensorReport(
        sensor=name,
        reasons=(),
        idle_w=_mean(known, phases, False),
        load_w=_mean(known, phases, True),
        noise_w=noise_w,
        delay_s=_delay_s(trace, known, phases),
        allowed_delay_s=ALLOWED_PERIODS / contract.bandwidth_hz + contract.period_s + SLACK_S,
        rate_hz=fresh / duration_s,
        stated_rate_hz=contract.rate_hz,
        stale_share=tally.stale / looks if looks else 0.0,
        repeated_share=repeated / len(good) if good else 0.0,
        faults=len(faults),
    )
    reasons = _reasons(found, known, faults[0] if faults else "")
    return SensorReport(**{**vars(found), "reasons": tuple(reasons)})


def _reasons(found: SensorReport, known: list[float], fault: str) -> list[str]:
    if fault and not known:
        return [f"it cannot be read: {fault}"]
    if not known or found.idle_w is None or found.load_w is None or found.noise_w is None:
        return ["too few readings came: phases have to last longer, or it does not answer"]
    holds = {
        f"{found.faults} readings were faults, first: {fault}": found.faults > 0,
        "power falls when the board works: is the shunt wired the other way round?": (
            found.load_w < found.idle_w - found.noise_w or found.idle_w < 0
        ),
        "it does not see the board work: is it wired to this board?": not _sees(found, known),
        f"it comes {found.delay_s or 0:.2f} s late, {found.allowed_delay_s:.2f} s would follow "
        "from its contract": (
            _sees(found, known) and (found.delay_s or 0.0) > found.allowed_delay_s
        ),
        f"{found.rate_hz:.3g} new readings a second, {found.stated_rate_hz:.3g} are stated": (
            found.rate_hz < LEAST_RATE * found.stated_rate_hz
        ),
    }
    return [reason for reason, true in holds.items() if true]


def _sees(found: SensorReport, known: list[float]) -> bool:
    """Every step up is there, and well above the noise."""
    assert found.idle_w is not None
    assert found.load_w is not None
    assert found.noise_w is not None
    idle, loaded = known[0::2], known[1::2]
    spread_w = float(np.std(idle)) if len(idle) > 1 else 0.0
    rise_w = found.load_w - found.idle_w
    least_w = max(SURE * spread_w, SURE * found.noise_w / FEW**0.5, LEAST_RISE * found.idle_w)
    return rise_w > least_w and all(up > down for up, down in zip(loaded, idle))


def _trace(name: str, contract: Contract, readings: Sequence[Reading]) -> Trace:
    series = {
        "power_ns": np.array([round(one.at_s * 1e9) for one in readings], np.int64),
        "power_value": np.array([round((one.value or 0.0) * 1e6) for one in readings], np.int64),
    }
    sensor = Sensor(name, contract.scope, contract.period_s, contract.counts_energy)
    return Trace(series, sensor)


def _levels(trace: Trace, phases: Sequence[Phase]) -> list[float]:
    """Watts of each phase when it has settled; empty when not all are known."""
    found = []
    for phase in phases:
        begun_ns, ended_ns = round(phase.settled_s * 1e9), round(phase.until_s * 1e9)
        inside = (trace.at_ns >= begun_ns) & (trace.at_ns <= ended_ns)
        if inside.sum() < FEW:
            return []
        found.append(trace.power_w(begun_ns, ended_ns))
    return found


def _mean(known: list[float], phases: Sequence[Phase], loaded: bool) -> Optional[float]:
    chosen = [level for level, phase in zip(known, phases) if phase.loaded == loaded]
    return float(np.mean(chosen)) if chosen else None


def _noise_w(trace: Trace, phases: Sequence[Phase]) -> float:
    """Pooled over the settled halves of the idle phases, each around its own mean."""
    squares, freedom = 0.0, 0
    for phase in phases:
        watts = trace.within([(round(phase.settled_s * 1e9), round(phase.until_s * 1e9))])
        if not phase.loaded and len(watts) > 1:
            squares += float(((watts - watts.mean()) ** 2).sum())
            freedom += len(watts) - 1
    return float((squares / freedom) ** 0.5) if freedom else 0.0


def _delay_s(trace: Trace, known: list[float], phases: Sequence[Phase]) -> Optional[float]:
    """Mean over all edges; None when there is no step."""
    found = []
    for before_w, after_w, phase in zip(known, known[1:], phases[1:]):
        if before_w != after_w:
            begun_ns, ended_ns = round(phase.from_s * 1e9), round(phase.until_s * 1e9)
            missing_j = after_w * (ended_ns - begun_ns) / 1e9 - trace.energy_j(begun_ns, ended_ns)
            found.append(missing_j / (after_w - before_w))
    return float(np.mean(found)) if found else None
