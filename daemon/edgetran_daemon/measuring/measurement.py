"""Measures bundles on this machine: one worker a subject, interleaved timed blocks.

All subjects are loaded and warmed up first. Then block 1 of every subject runs,
block 2 of every subject, and so on, so that drift of the machine hits all alike.
What each goes through is in trial.py; what comes of it, in recording.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Optional, Union

from edgetran_devices import UnitModel
from edgetran_protos.errors import BoardBusy, ModelDown, RuntimeFault, UsageError
from edgetran_protos.measuring.judging import Asked
from edgetran_protos.measuring.machine import Conditions

from edgetran_daemon import heap
from edgetran_daemon.board.board import Board, usable_cores
from edgetran_daemon.board.kind import kind_of_machine
from edgetran_daemon.deployment.deployments import Deployments
from edgetran_daemon.measuring.apart import apart
from edgetran_daemon.measuring.cores import governors, quiet_cores
from edgetran_daemon.measuring.emulation import asked_of, modelled
from edgetran_daemon.measuring.lease import Lease, Leases, Queued
from edgetran_daemon.measuring.recording import (
    MAX_RAW_SAMPLES,
    document_so_far,
    record,
    sensor_of,
)
from edgetran_daemon.measuring.records import (
    MeasurePiece,
    MeasureProgress,
    MeasureRecord,
    MeasureSpec,
    Subject,
)
from edgetran_daemon.measuring.self_test import steps_of_load
from edgetran_daemon.measuring.step_response import SensorReport
from edgetran_daemon.measuring.trial import BLOCK_LIMIT_S, Trial
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.sensors.watching import watching
from edgetran_daemon.serving.worker_ends import out_of_memory_kills
from edgetran_daemon.store.bundles import BundleStore

MAX_SUBJECTS = 64
MAX_BLOCKS = 100
MAX_BATCH = 256
MAX_WARMUP_S = 600.0
DIED = "it may not fit this board: try another variant, or a smaller batch"
EMULATED_RUNS = 3  # of the real model: it loads and answers

Step = Union[MeasureProgress, SensorReport]
Event = Union[MeasureProgress, MeasurePiece, MeasureRecord]


class Measurements:
    """One measurement at a time: two would measure each other."""

    def __init__(
        self,
        store: BundleStore,
        deployments: Deployments,
        board: Board,
        sensor: Optional[PowerSensor],
        leases: Leases,
        memory_bytes: Optional[int] = None,
    ) -> None:
        """memory_bytes: what a model's process may take; None: no limit."""
        self._store = store
        self._deployments = deployments
        self._board = board
        self._sensor = sensor
        self._leases = leases
        self._memory_bytes = memory_bytes
        self._busy = False
        self._modelled = 0  # measurements since the start: the place of the next in its study

    def lease(self, holder: str, ttl_s: float) -> Lease:
        """Raises BoardBusy while another measures or has a lease."""
        self._check_free()
        return self._leases.acquire(holder, ttl_s)

    def await_lease(
        self, holder: str, ttl_s: float, priority: int
    ) -> AsyncGenerator[Union[Queued, Lease], None]:
        """In a queue while another measures or has a lease. Raises BoardBusy when it is full."""
        return self._leases.wait(holder, ttl_s, priority, lambda: not self._busy)

    @property
    def busy(self) -> bool:
        return self._busy

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
                if spec.samples or not isinstance(event, MeasurePiece):
                    yield event
        finally:
            await events.aclose()
            await asyncio.to_thread(heap.give_back)

    async def test_sensor(
        self, sensor: PowerSensor, phase_s: float, steps: int, lease_token: int
    ) -> AsyncGenerator[Step, None]:
        """Steps of load under its eyes, as exclusive as a measurement is."""
        self._leases.admit(lease_token)
        self._check_free()
        self._busy = True
        ended = self._leases.ended(lease_token) if lease_token else None
        events = apart(self._stepped(steps_of_load(sensor, phase_s, steps)), ended)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def _stepped(self, steps: AsyncGenerator[Step, None]) -> AsyncGenerator[Step, None]:
        try:
            async for event in steps:
                yield event
        finally:
            await steps.aclose()
            self._free()

    def _free(self) -> None:
        self._busy = False
        self._leases.look_again()

    def _check_free(self) -> None:
        if self._busy:
            raise BoardBusy("the board is measuring already", hint="try again when it is done")

    async def _alone(self, spec: MeasureSpec) -> AsyncGenerator[Event, None]:
        """The board is free again when this ends, however slowly the client reads."""
        trials: list[Trial] = []
        model, kills = self._board.model, out_of_memory_kills()
        try:
            with ExitStack() as pins:
                for subject in spec.subjects:
                    pins.enter_context(self._store.pinned(subject.bundle_digest))
                steps = (
                    self._measure(spec, trials)
                    if model is None
                    else self._emulate(spec, trials, model)
                )
                async with watching(self._sensor if model is None else None):
                    async for event in steps:
                        yield event
        except ModelDown as exc:
            cause = ": the system was out of memory" if out_of_memory_kills() > kills else ""
            raise RuntimeFault(
                f"the model's process died while it was measured{cause}", hint=DIED
            ) from exc
        finally:
            for trial in trials:
                trial.worker.kill()
            self._free()
            await asyncio.gather(*(trial.worker.stop() for trial in trials))

    async def _emulate(
        self, spec: MeasureSpec, trials: list[Trial], model: UnitModel
    ) -> AsyncGenerator[Event, None]:
        """An emulated board runs the model only to show that it works."""
        count = len(spec.subjects)
        for done, subject in enumerate(spec.subjects):
            yield MeasureProgress("load", done, count)
            trials.append(await self._load(subject, spec, (), None))
        for stage, runs in (("warm-up", 1), ("measure", EMULATED_RUNS)):
            for done, trial in enumerate(trials):
                yield MeasureProgress(stage, done, count)
                await trial.try_out(runs)
        yield MeasureProgress("measure", count, count)
        for trial in trials:
            asked = asked_of(self._board, trial.bundle.card, trial.variant, self._modelled)
            facts = trial.facts(
                board=self._board.id, unit=self._board.unit, title=self._board.title
            )
            yield modelled({**facts, **asked}, model, trial.variant.work)
            self._modelled += 1

    async def _measure(self, spec: MeasureSpec, trials: list[Trial]) -> AsyncGenerator[Event, None]:
        count = len(spec.subjects)
        cores = await asyncio.to_thread(quiet_cores, spec.threads)
        for done, subject in enumerate(spec.subjects):
            yield MeasureProgress("load", done, count)
            trials.append(await self._load(subject, spec, cores, self._sensor))
        conditions = Conditions(spec.threads, usable_cores(), cores, governors(cores))
        sensor = sensor_of(self._sensor, spec.threads, kind_of_machine())
        asked = Asked()
        if spec.max_blocks > spec.blocks:
            asked = Asked(half_width=spec.half_width)
        answered = self._answered()
        for done, trial in enumerate(trials):
            yield MeasureProgress("warm-up", done, count)
            await trial.warm_up()
            begun = document_so_far(trial, self._board, sensor, conditions, asked)
            yield MeasurePiece(done, trial.gathering.piece(), begun)
        block, blocks = 0, spec.blocks
        while block < blocks:
            for place, trial in enumerate(trials):
                yield MeasureProgress("measure", block * count + place, blocks * count)
                await trial.block()
                yield MeasurePiece(place, trial.gathering.piece())
            block += 1
            if block == blocks < spec.max_blocks and not all(trial.narrow() for trial in trials):
                blocks += 1
        for place, trial in enumerate(trials):
            await trial.close_off()
            yield MeasurePiece(place, trial.gathering.piece())
        yield MeasureProgress("measure", blocks * count, blocks * count)
        conditions = replace(conditions, served_meanwhile=self._answered() != answered)
        for trial in trials:
            yield await asyncio.to_thread(record, trial, self._board, sensor, conditions, asked)

    async def _load(
        self,
        subject: Subject,
        spec: MeasureSpec,
        cores: Sequence[int],
        sensor: Optional[PowerSensor],
    ) -> Trial:
        return await Trial.load(self._store, subject, spec, cores, sensor, self._memory_bytes)

    def _answered(self) -> int:
        return sum(model.requests for model in self._deployments.served.values())


def check(spec: MeasureSpec) -> None:
    """Raises UsageError."""
    if not spec.subjects:
        raise UsageError("nothing to measure", hint="name at least one bundle")
    limits = {
        "subjects": (len(spec.subjects), MAX_SUBJECTS),
        "blocks": (spec.blocks, MAX_BLOCKS),
        "max_blocks": (spec.max_blocks, MAX_BLOCKS),
        "batch_size": (spec.batch_size, MAX_BATCH),
        "threads": (spec.threads, 4 * usable_cores()),
        "warmup_runs": (spec.warmup_runs, 1_000_000),
        "runs": (spec.runs, MAX_RAW_SAMPLES // max(spec.blocks, spec.max_blocks)),
    }
    for name, (asked, most) in limits.items():
        if asked > most:
            hint = "ask for less; what nobody asked for is the daemon's own, as its --threads"
            raise UsageError(f"{name} is {asked}, at most {most} are possible", hint=hint)
    if not 0 <= spec.min_block_s <= BLOCK_LIMIT_S:
        raise UsageError(f"min_block_s is {spec.min_block_s}, not within 0 and {BLOCK_LIMIT_S}")
    if not 0 <= spec.warmup_limit_s <= MAX_WARMUP_S:
        raise UsageError(
            f"warmup_limit_s is {spec.warmup_limit_s}, not within 0 and {MAX_WARMUP_S}"
        )
    if not 0 < spec.half_width < 1:
        raise UsageError(f"half_width is {spec.half_width}, not a share between 0 and 1")
