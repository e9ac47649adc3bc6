"""One served model: its worker, the bounded queue before it, its batches and its restarts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np
from edgetran_protos.bundle import BundleCard, Variant
from edgetran_protos.errors import BoardBusy, InputError, ModelDown, ModelError, RuntimeFault

from edgetran_daemon import heap
from edgetran_daemon.deployment.conduct import Conduct
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.batching import Batcher, can_batch
from edgetran_daemon.serving.serving_rules import BatchRule, ServingRule
from edgetran_daemon.serving.statistics import Statistics
from edgetran_daemon.serving.text import MAX_ROWS, Prediction, Text, TextCodec
from edgetran_daemon.serving.worker_ends import WorkerState, how_it_ended, out_of_memory_kills
from edgetran_daemon.serving.worker_process import Loaded, Ran, WorkerProcess
from edgetran_daemon.store.bundles import BundleStore, StoredBundle

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1  # before a dead worker is started again; doubles each time
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0  # a worker that lived so long starts over with the first pause
RESTART_WAIT_S = 5.0  # how long a request waits for a restart
LOGITS = "logits"
RECENT_TEXTS = 16  # kept in memory, for a new model to try
RECENT_CHARACTERS = 2000
SHORT_CHARACTERS = 2000  # tokenized at once: faster than a thread takes over


@dataclass(frozen=True)
class Answer:
    predictions: list[Prediction]
    tokenize_s: float
    infer_s: float


class ServedModel:
    """Answers until `close`; a worker that dies is replaced in the background."""

    def __init__(
        self,
        store: BundleStore,
        bundle: StoredBundle,
        variant: Variant,
        threads: int,
        rule: Optional[ServingRule] = None,
        name: str = "",
    ) -> None:
        """name: that it is served under, which rules may be about."""
        self.bundle = bundle
        self.variant = variant
        self.requests = 0  # answered so far
        self.statistics = Statistics()
        self.conduct = Conduct()
        self.recent: deque[Text] = deque(maxlen=RECENT_TEXTS)
        self.state = WorkerState(ready=False)
        self._threads = threads
        self._rule = rule or ServingRule()
        self._batch_rule = self._rule.batching.of(name)
        self._batcher: Optional[Batcher] = None
        self._graph = store.graph(variant)
        self._pythons = store.pythons
        tokenizer_json = store.blobs.read(bundle.card.tokenizer_digest)
        self._codec: Optional[TextCodec] = TextCodec(bundle.card, tokenizer_json)
        self._worker: Optional[WorkerProcess] = None
        self._loaded: Optional[Loaded] = None
        self._ready = asyncio.Event()
        self._watch: Optional[asyncio.Task[None]] = None
        self._closing = False
        self._under_way = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def card(self) -> BundleCard:
        return self.bundle.card

    @property
    def ready(self) -> bool:
        return self.state.ready

    @property
    def restarts(self) -> int:
        return self.state.restarts

    @property
    def loaded(self) -> Loaded:
        if self._loaded is None:
            raise RuntimeFault("the model is not loaded")
        return self._loaded

    @property
    def batches(self) -> BatchRule:
        """What holds: a graph of fixed rows runs each request by itself."""
        return self._batch_rule if self._batcher else BatchRule()

    @property
    def worker_pid(self) -> Optional[int]:
        return self._worker.pid if self._worker else None

    async def start(self, *, aside: bool = False) -> Loaded:
        """aside: it computes what others leave over until `bring_forward`.

        Raises RuntimeFault when the graph cannot be loaded.
        """
        loaded = await self._load(aside)
        if self._batch_rule.rows > 1 and can_batch((*loaded.inputs, *loaded.outputs)):
            self._batcher = Batcher(self._execute, self._batch_rule)
        self._watch = asyncio.create_task(self._keep_alive())
        await asyncio.to_thread(heap.give_back)  # of the tokenizer's text, which was parsed
        return loaded

    def bring_forward(self) -> None:
        if self._worker is not None:
            self._worker.bring_forward()

    async def close(self) -> None:
        """After the requests that came before; nobody may send another."""
        await self._unused.wait()
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        self._down(None)
        if self._worker is not None:
            await self._worker.finish()
        self._codec = None  # megabytes that would wait for the collector of cycles
        await asyncio.to_thread(heap.give_back)

    @property
    def _texts(self) -> TextCodec:
        if self._codec is None:
            raise RuntimeFault("the model is closed")
        return self._codec

    def encode(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        return self._texts.encode(texts)

    async def predict(self, texts: Sequence[Text]) -> Answer:
        """Raises BoardBusy when the queue is full, InputError, ModelDown, RuntimeFault."""
        with self._admitted():
            started = time.perf_counter()
            tensors = await self._tokenized(texts)
            tokenize_s = time.perf_counter() - started
            ran = await self._run(self.own_inputs(tensors), len(texts))
        predictions = self._texts.decode(ran.outputs[LOGITS])
        self.recent.extend(t for t in texts[:1] if sum(map(len, t)) <= RECENT_CHARACTERS)
        return Answer(predictions, tokenize_s, ran.run_s)

    async def _tokenized(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        if sum(len(part) for text in texts for part in text) <= SHORT_CHARACTERS:
            return self._texts.encode(texts)
        return await asyncio.to_thread(self._texts.encode, texts)

    def own_inputs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those that the graph takes: an export may have dropped an unused one."""
        return {
            spec.name: tensors[spec.name] for spec in self.loaded.inputs if spec.name in tensors
        }

    async def infer(self, inputs: Mapping[str, Tensor]) -> Ran:
        """Raises BoardBusy when the queue is full, InputError, ModelDown, RuntimeFault."""
        rows = row_count(inputs)
        if rows > MAX_ROWS:
            raise InputError(f"{rows} rows in one request", hint=f"send at most {MAX_ROWS}")
        with self._admitted():
            return await self._run(inputs, rows)

    async def try_out(self, inputs: Mapping[str, Tensor]) -> Ran:
        """For the board's own sake: by itself, past the queue, counted nowhere.

        Raises InputError, ModelDown, RuntimeFault.
        """
        with self._in_use():
            return await (await self._living_worker()).run(inputs)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """One client's request from its arrival on. Raises BoardBusy."""
        if self._under_way >= self._rule.queue_limit:
            self.statistics.fail.add(0.0)
            raise BoardBusy(
                f"{self._rule.queue_limit} requests wait for this model already",
                hint="try again later",
            )
        with self._in_use(), self.statistics.request():
            yield

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """`close` waits for its end."""
        self._under_way += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._unused.set()

    async def _run(self, inputs: Mapping[str, Tensor], rows: int) -> Ran:
        try:
            if self._batcher is None:
                ran, run_rows = await self._execute(inputs, rows), rows
            else:
                shared = await self._batcher.run(inputs)
                ran, run_rows = shared.ran, shared.rows
        except RuntimeFault:
            self.conduct.fail()
            raise
        self.requests += 1
        self.statistics.answered(rows, ran.phases)
        self.conduct.answer(run_rows, ran.run_s)
        return ran

    async def _execute(self, inputs: Mapping[str, Tensor], rows: int) -> Ran:
        """One run of the graph."""
        ran = await (await self._living_worker()).run(inputs)
        self.statistics.executed(rows, ran.phases)
        return ran

    async def _living_worker(self) -> WorkerProcess:
        if self.ready and self._worker is not None and not self._worker.alive:
            self._down(None)  # it hung up; that the process ended is heard later
        if not self._ready.is_set():
            try:
                await asyncio.wait_for(self._ready.wait(), RESTART_WAIT_S)
            except asyncio.TimeoutError:
                raise ModelDown(
                    f"{self.card.name} does not serve now: {self.state.trouble}",
                    hint="repeat the request later; see the daemon's log, or roll back",
                ) from None
        if self._worker is None:
            raise RuntimeFault("the model is not loaded")
        return self._worker

    async def _load(self, aside: bool = False) -> Loaded:
        rule = self._rule
        worker, loaded = await WorkerProcess.start(
            self.variant.runtime,
            self._graph,
            self._threads,
            rule.memory_bytes,
            aside=aside,
            pythons=self._pythons,
        )
        self._worker, self._loaded = worker, loaded
        self.state = replace(self.state, ready=True, pause_s=None)
        self._ready.set()
        return loaded

    def _down(self, pause_s: Optional[float], last_end: str = "") -> None:
        self._ready.clear()
        last_end = last_end or self.state.last_end
        self.state = replace(self.state, ready=False, pause_s=pause_s, last_end=last_end)

    async def _keep_alive(self) -> None:
        pause_s, kills = FIRST_PAUSE_S, out_of_memory_kills()
        while True:
            worker, began = self._worker, time.monotonic()
            if worker is not None:
                status = await worker.wait()
                ended = how_it_ended(status, out_of_memory_kills() > kills)
                if time.monotonic() - began > STEADY_S:
                    pause_s = FIRST_PAUSE_S
                self._down(pause_s, ended)
                self.conduct.die()
                log.warning("worker %d of %s ended: %s", worker.pid, self.card.name, ended)
                await worker.stop()
            if self._closing:
                return  # Python below 3.12 may lose a cancellation that meets an end
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self.state = replace(self.state, restarts=self.state.restarts + 1, pause_s=None)
            kills = out_of_memory_kills()
            try:
                await self._load()
            except (ModelError, OSError) as exc:  # the system may refuse a new process for now
                self._worker = None
                self._down(pause_s, f"it cannot be loaded again: {exc}")
                log.warning("%s cannot be loaded again: %s", self.card.name, exc)


def row_count(inputs: Mapping[str, Tensor]) -> int:
    return max((len(tensor) for tensor in inputs.values() if tensor.ndim), default=1)


def golden_inputs(card: BundleCard) -> dict[str, Tensor]:
    golden = card.golden
    return {
        "input_ids": np.array(golden.input_ids, np.int64),
        "attention_mask": np.array(golden.attention_mask, np.int64),
        "token_type_ids": np.array(golden.token_type_ids, np.int64),
    }
