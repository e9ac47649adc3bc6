"""What a measured subject comes to: its record, with the document that anybody can verify."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
from edgetran_devices import BoardSpec
from edgetran_protos.measuring.document import begun, finished
from edgetran_protos.measuring.judging import Asked, Judgement, blocks_s, judge
from edgetran_protos.measuring.machine import Conditions
from edgetran_protos.measuring.power import Sensor
from edgetran_protos.measuring.quantity import Quantity

from edgetran_daemon.board.board import Board
from edgetran_daemon.board.describe import daemon_version
from edgetran_daemon.measuring.records import MeasureRecord
from edgetran_daemon.measuring.trial import Trial
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.sensors.base import SHORTEST_PERIOD_S
from edgetran_daemon.sensors.contract import BOARD

MAX_RAW_SAMPLES = 200_000
SHOWN = (  # facts that are fields of a record
    *("bundle_digest", "variant", "board", "unit", "source", "load_s", "peak_memory_bytes"),
    *("artefact_bytes", "threads", "batch_size", "sequence_length", "runtime", "started_unix_s"),
)


def sensor_of(
    sensor: Optional[PowerSensor], threads: int, kind: Optional[BoardSpec]
) -> Optional[Sensor]:
    """kind: what boards like this one usually draw, if the sensor measures all of it."""
    if sensor is None:
        return None
    contract = sensor.contract
    period_s = max(contract.period_s, SHORTEST_PERIOD_S)
    idle_w = load_w = None
    if kind is not None and contract.scope == BOARD:
        unit = kind.units[kind.default_unit]
        idle_w = unit.idle_w
        if idle_w is not None and unit.active_w is not None:
            load_w = idle_w + (unit.active_w - idle_w) * min(1.0, threads / kind.cpu_count)
    return Sensor(
        name=sensor.name,
        scope=sensor.scope,
        period_s=period_s,
        counts_energy=contract.counts_energy,
        idle_w=idle_w,
        load_w=load_w,
    )


def document_so_far(
    trial: Trial, board: Board, sensor: Optional[Sensor], conditions: Conditions, asked: Asked
) -> dict[str, Any]:
    facts = trial.facts(
        board=board.id,
        unit=board.unit,
        title=board.title,
        soc=board.soc,
        memory_bytes=board.memory_bytes,
        platform=platform.platform(),
        daemon_version=daemon_version(),
        source=_source(sensor),
    )
    return begun(facts, conditions, sensor, asked)


def record(
    trial: Trial, board: Board, sensor: Optional[Sensor], conditions: Conditions, asked: Asked
) -> MeasureRecord:
    series = trial.gathering.series
    judgement = judge(series, conditions, sensor, asked)
    start = document_so_far(trial, board, sensor, conditions, asked)
    pieces = [(piece.digest, piece.size_bytes) for piece in trial.gathering.kept]
    blocks = blocks_s(series)
    return _record(
        finished(start, pieces, judgement),
        judgement,
        runs_a_block=min(len(block) for block in blocks),
        samples_s=np.concatenate(blocks)[:MAX_RAW_SAMPLES].tolist(),
    )


def _record(
    document: Mapping[str, Any], judgement: Judgement, runs_a_block: int, samples_s: list[float]
) -> MeasureRecord:
    facts, found = document["facts"], judgement.figures
    peak_w = found.peak_power_w
    return MeasureRecord(
        **{name: facts[name] for name in SHOWN},
        modelled=False,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        latency_p50_s=found.latency_p50_s,
        latency_p95_s=found.latency_p95_s,
        latency_p99_s=found.latency_p99_s,
        energy_j=found.energy_j,
        energy_net_j=found.energy_net_j,
        idle_power_w=found.idle_power_w,
        peak_power_w=None if peak_w is None else Quantity(peak_w),
        latency_cv=found.latency_cv,
        runs_a_block=runs_a_block,
        samples_s=samples_s,
        document=document,
    )


def _source(sensor: Optional[Sensor]) -> str:
    timing = "latency: perf_counter in the worker"
    if sensor is None:
        return timing
    return f"{timing}; energy: {sensor.name} ({sensor.scope}), gross"
