"""Measures bundles on this machine: one worker a subject, interleaved timed blocks.

All subjects are loaded and warmed up first. Then block 1 of every subject runs,
block 2 of every subject, and so on, so that drift of the machine hits all alike.
Runs are timed inside the worker, around the runtime's call only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Optional, Union

import numpy as np
from edgetran_protos.bundle import Variant
from edgetran_protos.errors import BoardBusy, InputError, UsageError

from edgetran_daemon.board.board import Board, usable_cores
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.measuring.apart import apart
from edgetran_daemon.measuring.block_statistics import (
    coefficient_of_variation,
    judge,
    mean,
    quantiles,
)
from edgetran_daemon.measuring.emulation import modelled
from edgetran_daemon.measuring.lease import Lease, Leases
from edgetran_daemon.measuring.power import PowerWindow
from edgetran_daemon.measuring.records import (
    MeasureProgress,
    MeasureRecord,
    MeasureSpec,
    Quantity,
    Subject,
)
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.serving.served_model import golden_inputs
from edgetran_daemon.serving.worker_process import Loaded, WorkerProcess
from edgetran_daemon.store.bundles import BundleStore, StoredBundle

WARMUP_S = 1.0  # at least: clocks and caches settle
BLOCK_LIMIT_S = 10.0
BLOCK_LIMIT_RUNS = 10_000  # keeps a record of a tiny model within one message
MAX_SUBJECTS = 64
MAX_BLOCKS = 100
MAX_BATCH = 256
MAX_RAW_SAMPLES = 200_000
EMULATED_RUNS = 3  # of the real model: it loads and answers

Event = Union[MeasureProgress, MeasureRecord]


@dataclass
class _Trial:
    """One subject while it is measured."""

    bundle: StoredBundle
    variant: Variant
    worker: WorkerProcess
    loaded: Loaded
    inputs: dict[str, Tensor]
    started_unix_s: float
    blocks: list[Tensor] = field(default_factory=list)
    energy_j: list[float] = field(default_factory=list)  # one inference, a block
    peak_power_w: list[float] = field(default_factory=list)


class Measurements:
    """One measurement at a time: two would measure each other."""

    def __init__(
        self,
        store: BundleStore,
        deployments: Deployments,
        board: Board,
        sensor: Optional[PowerSensor],
        leases: Leases,
    ) -> None:
        self._store = store
        self._deployments = deployments
        self._board = board
        self._sensor = sensor
        self._leases = leases
        self._busy = False

    def lease(self, holder: str, ttl_s: float) -> Lease:
        """Raises BoardBusy while another measures or has a lease."""
        self._check_free()
        return self._leases.acquire(holder, ttl_s)

    async def measure(self, spec: MeasureSpec) -> AsyncGenerator[Event, None]:
        """Progress, then one record a subject. Leaving early, or a lease's end, stops the workers.

        Raises BoardBusy, LeaseLost.
        """
        check(spec)
        self._leases.admit(spec.lease_token)
        self._check_free()
        self._busy = True
        ended = self._leases.ended(spec.lease_token) if spec.lease_token else None
        events = apart(self._alone(spec), ended)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def _check_free(self) -> None:
        if self._busy:
            raise BoardBusy("the board is measuring already", hint="try again when it is done")

    async def _alone(self, spec: MeasureSpec) -> AsyncGenerator[Event, None]:
        """The board is free again when this ends, however slowly the client reads."""
        trials: list[_Trial] = []
        try:
            with ExitStack() as pins:
                for subject in spec.subjects:
                    pins.enter_context(self._store.pinned(subject.bundle_digest))
                async for event in self._measure(self._shortened(spec), trials):
                    yield event
        finally:
            for trial in trials:
                trial.worker.kill()
            self._busy = False
            await asyncio.gather(*(trial.worker.stop() for trial in trials))

    def _shortened(self, spec: MeasureSpec) -> MeasureSpec:
        """An emulated board runs the model only to show that it works."""
        if not self._board.emulated:
            return spec
        return replace(spec, warmup_runs=1, runs=EMULATED_RUNS, blocks=1, min_block_s=0.0)

    async def _measure(
        self, spec: MeasureSpec, trials: list[_Trial]
    ) -> AsyncGenerator[Event, None]:
        count = len(spec.subjects)
        for done, subject in enumerate(spec.subjects):
            yield MeasureProgress("load", done, count)
            trials.append(await self._load(subject, spec))
        answered = self._answered()
        for done, trial in enumerate(trials):
            yield MeasureProgress("warm-up", done, count)
            await self._warm_up(trial, spec)
        for block in range(spec.blocks):
            for place, trial in enumerate(trials):
                yield MeasureProgress("measure", block * count + place, spec.blocks * count)
                await self._block(trial, spec)
        yield MeasureProgress("measure", spec.blocks * count, spec.blocks * count)
        disturbances = ["served_requests_meanwhile"] if self._answered() != answered else []
        if spec.threads > usable_cores():
            disturbances.append("more_threads_than_cores")
        for trial in trials:
            yield await asyncio.to_thread(self._record, trial, spec, disturbances)

    async def _load(self, subject: Subject, spec: MeasureSpec) -> _Trial:
        bundle = self._store.open(subject.bundle_digest)
        variant = bundle.variant(subject.variant)
        started = time.time()
        inputs = {
            name: rows_of(tensor, spec.batch_size)
            for name, tensor in golden_inputs(bundle.card).items()
        }
        worker, loaded = await WorkerProcess.start(
            variant.runtime, self._store.graph(variant), spec.threads
        )
        taken = {spec.name: inputs[spec.name] for spec in loaded.inputs if spec.name in inputs}
        return _Trial(bundle, variant, worker, loaded, taken, started)

    async def _warm_up(self, trial: _Trial, spec: MeasureSpec) -> None:
        await trial.worker.time(
            trial.inputs,
            runs=spec.warmup_runs,
            min_s=0.0 if self._board.emulated else WARMUP_S,
            max_s=BLOCK_LIMIT_S,
            max_runs=1_000_000,
        )

    async def _block(self, trial: _Trial, spec: MeasureSpec) -> None:
        if self._sensor is None or self._board.emulated:
            trial.blocks.append(await self._timed(trial, spec))
            return
        async with PowerWindow(self._sensor) as power:
            samples = await self._timed(trial, spec)
        trial.blocks.append(samples)
        trial.energy_j.append(power.energy_j / len(samples))
        trial.peak_power_w.append(power.peak_power_w)

    async def _timed(self, trial: _Trial, spec: MeasureSpec) -> Tensor:
        return await trial.worker.time(
            trial.inputs,
            runs=spec.runs,
            min_s=spec.min_block_s,
            max_s=BLOCK_LIMIT_S,
            max_runs=max(BLOCK_LIMIT_RUNS, spec.runs),
        )

    def _record(self, trial: _Trial, spec: MeasureSpec, disturbances: list[str]) -> MeasureRecord:
        p50, p95, p99 = quantiles(trial.blocks)
        verdict, reasons = judge(trial.blocks, disturbances)
        record = MeasureRecord(
            bundle_digest=trial.bundle.digest,
            variant=trial.variant.name,
            board=self._board.id,
            unit=self._board.unit,
            modelled=False,
            source=self._source(trial),
            verdict=verdict,
            reasons=reasons,
            latency_p50_s=p50,
            latency_p95_s=p95,
            latency_p99_s=p99,
            energy_j=mean(trial.energy_j) if trial.energy_j else None,
            peak_power_w=_peak(trial.peak_power_w),
            latency_cv=coefficient_of_variation(trial.blocks),
            load_s=trial.loaded.load_s,
            peak_memory_bytes=trial.worker.peak_memory_bytes,
            artefact_bytes=trial.variant.size_bytes,
            threads=spec.threads,
            batch_size=spec.batch_size,
            sequence_length=trial.bundle.card.sequence_length,
            runs_a_block=min(len(block) for block in trial.blocks),
            runtime=trial.loaded.runtime,
            started_unix_s=trial.started_unix_s,
            samples_s=np.concatenate(trial.blocks)[:MAX_RAW_SAMPLES].tolist(),
        )
        if self._board.model is None:
            return record
        return modelled(record, self._board.model, trial.variant.work)

    def _source(self, trial: _Trial) -> str:
        timing = "latency: perf_counter in the worker"
        if self._sensor is None or not trial.energy_j:
            return timing
        return f"{timing}; energy: {self._sensor.name} ({self._sensor.scope}), gross"

    def _answered(self) -> int:
        return sum(model.requests for model in self._deployments.served.values())


def _peak(blocks_w: Sequence[float]) -> Optional[Quantity]:
    """The largest of the blocks' peaks; None when no block lasted a window of the sensor."""
    seen = [peak_w for peak_w in blocks_w if peak_w > 0]
    return Quantity(max(seen)) if seen else None


def rows_of(tensor: Tensor, count: int) -> Tensor:
    """`count` rows, the tensor's own over and over."""
    if not len(tensor):
        raise InputError("the bundle has no golden rows to measure with", hint="pack it again")
    return np.resize(tensor, (count, *tensor.shape[1:]))


def check(spec: MeasureSpec) -> None:
    """Raises UsageError."""
    if not spec.subjects:
        raise UsageError("nothing to measure", hint="name at least one bundle")
    limits = {
        "subjects": (len(spec.subjects), MAX_SUBJECTS),
        "blocks": (spec.blocks, MAX_BLOCKS),
        "batch_size": (spec.batch_size, MAX_BATCH),
        "threads": (spec.threads, 4 * usable_cores()),
        "warmup_runs": (spec.warmup_runs, 1_000_000),
        "runs": (spec.runs, MAX_RAW_SAMPLES // spec.blocks),
    }
    for name, (asked, most) in limits.items():
        if asked > most:
            raise UsageError(f"{name} is {asked}, at most {most} are possible")
    if not 0 <= spec.min_block_s <= BLOCK_LIMIT_S:
        raise UsageError(f"min_block_s is {spec.min_block_s}, not within 0 and {BLOCK_LIMIT_S}")
