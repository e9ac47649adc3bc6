"""The figures and the verdict of a measurement, from its raw samples and conditions alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from edgetran_protos.measuring import machine
from edgetran_protos.measuring import power as power_of
from edgetran_protos.measuring.batch_means import batch_mean, mean_of, narrow_enough
from edgetran_protos.measuring.levels import deviation, moved
from edgetran_protos.measuring.machine import Conditions
from edgetran_protos.measuring.percentiles import Floats, bound, quantiles
from edgetran_protos.measuring.power import Sensor
from edgetran_protos.measuring.quantity import Quantity
from edgetran_protos.measuring.reasons import verdict
from edgetran_protos.measuring.series import BLOCK, Column, Series, SeriesError, cut, known, phases
from edgetran_protos.measuring.steadiness import steady_from

PERCENTS = (50.0, 90.0, 95.0, 99.0)
FEW_SAMPLES = 30
TOO_FEW_SAMPLES = 10
SCATTERED, SCATTERED_WIDELY = 0.10, 1.00
SLOW, SLOW_SHARE = 1.25, 0.05
BLOCKS_DISAGREE = 0.03


@dataclass(frozen=True)
class Asked:
    """What the measurement was to reach."""

    half_width: Optional[float] = None  # of the median's interval, as a share; None: whatever
    complete: bool = True  # all blocks that were asked for are there


@dataclass(frozen=True)
class Figures:
    """None: not known, which is not zero."""

    runs: int
    blocks: int
    warm_up_runs: int
    warm_up_steady_from: Optional[int]  # the number of a warm-up run
    latency_p50_s: Quantity
    latency_p90_s: Quantity
    latency_p95_s: Quantity
    latency_p99_s: Quantity
    latency_p90_bound_s: Optional[float]  # LoadGen's rule, 99 % confidence
    latency_p99_bound_s: Optional[float]
    latency_mean_s: Quantity  # by batch means
    batches: int
    latency_cv: float
    blocks_cv: float
    reference_p50_s: Optional[float]
    reference_range: Optional[float]  # largest slot over smallest, less one
    waited_share: Optional[float]  # of the blocks' time
    observer_share: Optional[float]  # of a core
    temperature_low_c: Optional[float]
    temperature_high_c: Optional[float]
    clock_low_hz: Optional[float]
    clock_high_hz: Optional[float]
    energy_j: Optional[Quantity]  # gross, one inference
    energy_net_j: Optional[Quantity]  # without what the idle board draws meanwhile
    idle_power_w: Optional[float]
    load_power_w: Optional[float]
    peak_power_w: Optional[float]  # largest mean over power.PEAK_WINDOW_S


@dataclass(frozen=True)
class Judgement:
    figures: Figures
    verdict: str
    reasons: tuple[str, ...]


def judge(
    series: Series, conditions: Conditions, sensor: Optional[Sensor], asked: Asked
) -> Judgement:
    """Raises SeriesError when there is no run, or columns do not fit each other."""
    blocks = blocks_s(series)
    if not blocks or len(phases(series, BLOCK)) != len(blocks):
        raise SeriesError("there are no timed blocks, or their phases are missing")
    power_faults = power_of.faults(series, sensor) if sensor else []
    figures = _figures(series, blocks, sensor, not set(power_faults) & power_of.NO_FIGURE)
    reasons = (
        *_run_faults(figures, blocks, asked, batch_mean(np.concatenate(blocks)).independent),
        *machine.faults(series, conditions),
        *power_faults,
    )
    return Judgement(figures, verdict(reasons), reasons)


def blocks_s(series: Series) -> list[Floats]:
    """The timed runs of each block, in seconds."""
    parts = cut(series["run_ns"], series["block_runs"])
    return [part / 1e9 for part in parts if len(part)]


def _run_faults(
    figures: Figures, blocks: list[Floats], asked: Asked, independent: bool
) -> list[str]:
    runs, count = np.concatenate(blocks), figures.runs
    medians = [float(np.median(block)) for block in blocks]
    slow = float((runs > SLOW * np.median(runs)).mean())
    wide = figures.latency_cv > SCATTERED_WIDELY
    holds = {
        "broke_off": not asked.complete,
        "too_few_samples": count < TOO_FEW_SAMPLES,
        "few_samples": TOO_FEW_SAMPLES <= count < FEW_SAMPLES,
        "warm_up_not_steady": bool(figures.warm_up_runs) and figures.warm_up_steady_from is None,
        "latency_scattered_widely": wide,
        "latency_scattered": not wide and (figures.latency_cv > SCATTERED or slow > SLOW_SHARE),
        "blocks_disagree": figures.blocks_cv > BLOCKS_DISAGREE,
        "latency_drifted": moved(medians),
        "batches_correlated": not independent and count >= FEW_SAMPLES,
        "interval_too_wide": asked.half_width is not None
        and not narrow_enough(figures.latency_p50_s, asked.half_width),
    }
    return [name for name, true in holds.items() if true]


def _figures(
    series: Series, blocks: list[Floats], sensor: Optional[Sensor], power_counts: bool
) -> Figures:
    runs = np.concatenate(blocks)
    p50, p90, p95, p99 = quantiles(blocks, PERCENTS)
    means = batch_mean(runs)
    warm_up = series["warm_up_ns"] / 1e9
    reference = machine.reference_levels_s(series)
    block_ns = np.array([until - begun for begun, until in phases(series, BLOCK)], np.int64)
    temperature_c, clock = known(series["temperature_mc"]) / 1000, known(series["clock_khz"])
    power = power_of.power(series, sensor) if sensor and power_counts else None
    gross, net = _energies(power, blocks, block_ns)
    return Figures(
        runs=len(runs),
        blocks=len(blocks),
        warm_up_runs=len(warm_up),
        warm_up_steady_from=steady_from(warm_up),
        latency_p50_s=p50,
        latency_p90_s=p90,
        latency_p95_s=p95,
        latency_p99_s=p99,
        latency_p90_bound_s=bound(runs, 90),
        latency_p99_bound_s=bound(runs, 99),
        latency_mean_s=means.mean,
        batches=means.batches,
        latency_cv=float(runs.std() / runs.mean()),
        blocks_cv=deviation([float(np.median(block)) for block in blocks]),
        reference_p50_s=float(np.median(reference)) if reference else None,
        reference_range=max(reference) / min(reference) - 1 if reference else None,
        waited_share=_share(series["waited_ns"], block_ns),
        observer_share=_share(series["observer_ns"], block_ns),
        temperature_low_c=float(temperature_c.min()) if len(temperature_c) else None,
        temperature_high_c=float(temperature_c.max()) if len(temperature_c) else None,
        clock_low_hz=float(clock.min() * 1e3) if len(clock) else None,
        clock_high_hz=float(clock.max() * 1e3) if len(clock) else None,
        energy_j=gross,
        energy_net_j=net,
        idle_power_w=power.idle_w if power else None,
        load_power_w=power.load_w if power else None,
        peak_power_w=power.peak_w if power else None,
    )


def _share(spent_ns: Column, block_ns: Column) -> Optional[float]:
    return machine.share(spent_ns, block_ns) if len(known(spent_ns)) else None


def _energies(
    power: Optional[power_of.Power], blocks: list[Floats], block_ns: Column
) -> tuple[Optional[Quantity], Optional[Quantity]]:
    """(gross, net) of one inference, with intervals over the blocks."""
    if power is None:
        return None, None
    counts = [len(block) for block in blocks]
    gross = mean_of([joules / count for joules, count in zip(power.block_j, counts)])
    if power.idle_w is None:
        return gross, None
    idle_w = power.idle_w
    net = [
        (joules - idle_w * lasted / 1e9) / count
        for joules, lasted, count in zip(power.block_j, block_ns.tolist(), counts)
    ]
    return gross, mean_of(net)
