"""One subject while it is measured: its worker, its samples, and the phases it goes through.

Runs are timed inside the worker, around the runtime's call only. Before each block, and
after the last, the same worker runs the reference workload: when that becomes slower, it
was not the model. A board with a power sensor also stays idle before and after.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
from edgetran_protos.bundle import Variant
from edgetran_protos.errors import InputError
from edgetran_protos.measuring.batch_means import narrow_enough
from edgetran_protos.measuring.judging import blocks_s
from edgetran_protos.measuring.percentiles import quantiles
from edgetran_protos.measuring.series import BLOCK, IDLE, REFERENCE, WARM_UP
from edgetran_protos.measuring.steadiness import steady_from

from edgetran_daemon.measuring.cores import Accounts
from edgetran_daemon.measuring.gathering import Gathering
from edgetran_daemon.measuring.records import MeasureSpec, Subject
from edgetran_daemon.measuring.watching import Watch
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.sensors import PowerSensor
from edgetran_daemon.serving.served_model import golden_inputs
from edgetran_daemon.serving.worker_process import Loaded, Timed, WorkerProcess
from edgetran_daemon.store.bundles import BundleStore, StoredBundle

WARMUP_S = 1.0  # at least: clocks and caches settle
WARMUP_SLICE_S = 0.25  # between two looks whether times are steady
BLOCK_LIMIT_S = 10.0
BLOCK_LIMIT_RUNS = 10_000  # keeps a piece of a tiny model within one message
REFERENCE_RUNS = 20
REFERENCE_S = 0.1
IDLE_S = 1.0


class Trial:
    def __init__(
        self,
        bundle: StoredBundle,
        variant: Variant,
        worker: WorkerProcess,
        loaded: Loaded,
        spec: MeasureSpec,
        cores: Sequence[int],
        sensor: Optional[PowerSensor],
    ) -> None:
        self.bundle = bundle
        self.variant = variant
        self.worker = worker
        self.loaded = loaded
        self.started_unix_s = time.time()
        self.gathering = Gathering()
        self._spec = spec
        self._cores = cores
        self._sensor = sensor
        inputs = {
            name: rows_of(tensor, spec.batch_size)
            for name, tensor in golden_inputs(bundle.card).items()
        }
        self._inputs = {one.name: inputs[one.name] for one in loaded.inputs if one.name in inputs}

    @staticmethod
    async def load(
        store: BundleStore,
        subject: Subject,
        spec: MeasureSpec,
        cores: Sequence[int],
        sensor: Optional[PowerSensor],
        memory_bytes: Optional[int],
    ) -> Trial:
        bundle = store.open(subject.bundle_digest)
        variant = bundle.variant(subject.variant)
        graph = store.graph(variant)
        worker, loaded = await WorkerProcess.start(
            variant.runtime, graph, spec.threads, memory_bytes, cores, pythons=store.pythons
        )
        try:
            return Trial(bundle, variant, worker, loaded, spec, cores, sensor)
        except BaseException:
            await worker.stop()
            raise

    async def try_out(self, runs: int) -> None:
        """That it works is all that an emulated board has to show."""
        await self._timed(runs, 0.0, BLOCK_LIMIT_S, runs)

    async def warm_up(self) -> None:
        """Until times are steady, or the budget is over; idle before, if that can be seen."""
        async with Watch(self._sensor, self._cores) as watch:
            await self._idle()
            begun_ns, begun_s = time.perf_counter_ns(), time.perf_counter()
            runs_s = np.zeros(0)
            while True:
                left = max(1, self._spec.warmup_runs - len(runs_s))
                timed = await self._timed(left, WARMUP_SLICE_S, BLOCK_LIMIT_S, 1_000_000)
                self.gathering.warm_up(timed)
                runs_s = np.concatenate((runs_s, timed.samples_s))
                spent_s = time.perf_counter() - begun_s
                enough = len(runs_s) >= self._spec.warmup_runs and spent_s >= WARMUP_S
                if enough and steady_from(runs_s) is not None:
                    break
                if enough and spent_s >= self._spec.warmup_limit_s:
                    break
            self.gathering.phase(WARM_UP, begun_ns, time.perf_counter_ns())
        self.gathering.add(watch.columns)

    async def block(self) -> None:
        spec = self._spec
        async with Watch(self._sensor, self._cores) as watch:
            await self._reference()
            accounts = Accounts(self.worker.pid, self._cores)
            most = max(BLOCK_LIMIT_RUNS, spec.runs)
            timed = await self._timed(spec.runs, spec.min_block_s, BLOCK_LIMIT_S, most)
            self.gathering.block(timed, accounts.spent())
            begun, ended = timed.started_s[0], timed.ended_s[-1]
            self.gathering.phase(BLOCK, round(begun * 1e9), round(ended * 1e9))
        self.gathering.add(watch.columns)

    async def close_off(self) -> None:
        """The reference once more, and the board idle."""
        async with Watch(self._sensor, self._cores) as watch:
            await self._reference()
            await self._idle()
        self.gathering.add(watch.columns)

    def narrow(self) -> bool:
        """Whether the median is known as well as was asked for."""
        (median,) = quantiles(blocks_s(self.gathering.series), (50.0,))
        return narrow_enough(median, self._spec.half_width)

    def facts(self, **further: Any) -> Mapping[str, Any]:
        return {
            "bundle_digest": self.bundle.digest,
            "variant": self.variant.name,
            "artefact_bytes": self.variant.size_bytes,
            "sequence_length": self.bundle.card.sequence_length,
            "batch_size": self._spec.batch_size,
            "threads": self._spec.threads,
            "runtime": self.loaded.runtime,
            "load_s": self.loaded.load_s,
            "peak_memory_bytes": self.worker.peak_memory_bytes,
            "started_unix_s": self.started_unix_s,
            **further,
        }

    async def _reference(self) -> None:
        begun_ns = time.perf_counter_ns()
        self.gathering.reference(
            await self.worker.reference(
                runs=REFERENCE_RUNS, min_s=REFERENCE_S, max_s=10 * REFERENCE_S
            )
        )
        self.gathering.phase(REFERENCE, begun_ns, time.perf_counter_ns())

    async def _idle(self) -> None:
        if self._sensor is None:
            return  # nobody would see it
        begun_ns = time.perf_counter_ns()
        await asyncio.sleep(IDLE_S)
        self.gathering.phase(IDLE, begun_ns, time.perf_counter_ns())

    async def _timed(self, runs: int, min_s: float, max_s: float, most: int) -> Timed:
        return await self.worker.time(
            self._inputs, runs=runs, min_s=min_s, max_s=max_s, max_runs=most
        )


def rows_of(tensor: Tensor, count: int) -> Tensor:
    """`count` rows, the tensor's own over and over."""
    if not len(tensor):
        raise InputError("the bundle has no golden rows to measure with", hint="pack it again")
    return np.resize(tensor, (count, *tensor.shape[1:]))
