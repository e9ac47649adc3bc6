"""A served model: restarts, the bounded queue, and an end that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

import grpc
import numpy as np
import psutil
import pytest
from edgetran_daemon.serving import served_model
from edgetran_daemon.serving.served_model import ServedModel, golden_inputs
from edgetran_daemon.serving.serving_rules import QUEUE_LIMIT, Batching, BatchRule, ServingRule
from edgetran_daemon.serving.text import MAX_ROWS, TextCodec
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardBusy, InputError, ModelDown

Work = Callable[[ServedModel], Awaitable[Any]]
MEMORY = Path(__file__).with_name("memory_of_a_model.py")
TEXTS = [("turn on the light",), ("heat on",)]


@pytest.fixture
def store(tmp_path: Path, tiny: ModuleType) -> BundleStore:
    """Holds one bundle."""
    bundle: Bundle = tiny.make(tmp_path / "bundle")
    store = BundleStore(BlobStore(tmp_path / "state", reserve_bytes=0))
    for blob in bundle.transfer_blobs():
        with store.blobs.arriving(blob.digest, blob.size_bytes, 0) as arrival:
            arrival.write(bundle.read(blob.digest))
            arrival.finish()
    return store


def serve(store: BundleStore, work: Work, rule: Optional[ServingRule] = None) -> Any:
    (digest,) = (d for d in store.blobs.digests() if len(store._named(d)) > 1)

    async def run() -> Any:
        bundle = store.open(digest)
        model = ServedModel(store, bundle, bundle.variant(""), threads=1, rule=rule)
        await model.start()
        pid = model.worker_pid
        try:
            return await work(model)
        finally:
            await asyncio.wait_for(model.close(), 20)
            assert pid is not None
            assert not psutil.pid_exists(pid)

    return asyncio.run(run())


def test_it_answers_texts_and_tensors_alike(store: BundleStore, tiny: ModuleType) -> None:
    async def work(model: ServedModel) -> None:
        answer = await model.predict(TEXTS)
        logits = tiny.reference(tiny.encode([list(text) for text in TEXTS]))
        assert [p.label for p in answer.predictions] == [tiny.LABELS[i] for i in logits.argmax(1)]
        assert answer.tokenize_s > 0
        assert answer.infer_s > 0
        ran = await model.infer(golden_inputs(model.card))
        np.testing.assert_allclose(
            ran.outputs["logits"], model.card.golden.logits[model.variant.name], atol=1e-5
        )
        assert model.requests == 2

    serve(store, work)


def test_statistics_say_where_the_time_went(store: BundleStore) -> None:
    async def work(model: ServedModel) -> None:
        await model.predict(TEXTS)
        await asyncio.gather(*(model.predict(TEXTS[:1]) for _ in range(3)))
        with pytest.raises(InputError):
            await model.infer({"input_ids": np.zeros((1, 3), np.int64)})
        found = model.statistics
        assert (found.success.count, found.fail.count) == (4, 1)
        assert (found.inferences, found.executions) == (5, 4)
        assert {rows: compute.infer.count for rows, compute in found.by_batch.items()} == {
            2: 1,
            1: 3,
        }
        compute = found.compute
        parts_ns = found.queue.ns + compute.input.ns + compute.infer.ns + compute.output.ns
        assert 0 < compute.infer.ns <= parts_ns <= found.success.ns

    serve(store, work)


def test_requests_that_share_a_run_are_answered_as_if_alone(
    store: BundleStore, tiny: ModuleType
) -> None:
    async def work(model: ServedModel) -> None:
        assert model.batches == BatchRule(4, 0.05)
        texts = [[("turn on the light",)], [("heat on",)], TEXTS]
        found = await asyncio.gather(*map(model.predict, texts))
        for answer, asked in zip(found, texts):
            logits = tiny.reference(tiny.encode([list(text) for text in asked]))
            expected = [tiny.LABELS[i] for i in logits.argmax(1)]
            assert [p.label for p in answer.predictions] == expected
        counted = model.statistics
        assert (counted.success.count, counted.inferences, counted.executions) == (3, 4, 1)
        assert list(counted.by_batch) == [4]
        assert not model.conduct.single_row_s  # no time of one row alone
        too_narrow = {**golden_inputs(model.card), "input_ids": np.zeros((1, 3), np.int64)}
        refused, good = await asyncio.gather(
            model.infer({name: tensor[:1] for name, tensor in too_narrow.items()}),
            model.predict(TEXTS[:1]),
            return_exceptions=True,
        )
        assert isinstance(refused, InputError)
        assert not isinstance(good, BaseException)

    serve(store, work, ServingRule(batching=Batching.of_text("4:50")))


def test_a_closed_model_lets_its_tokenizer_go(store: BundleStore) -> None:
    """At once, not when cycles are collected next: there may be ten models before that."""

    async def work(model: ServedModel) -> list[weakref.ref[TextCodec]]:
        return [weakref.ref(one) for one in gc.get_objects() if type(one) is TextCodec]

    gc.collect()
    gc.disable()
    try:
        codecs = serve(store, work)
        assert len(codecs) == 1
        assert codecs[0]() is None
    finally:
        gc.enable()


def test_a_killed_worker_is_replaced_and_the_next_request_waits_for_it(store: BundleStore) -> None:
    async def work(model: ServedModel) -> None:
        expected = (await model.predict(TEXTS)).predictions
        for _ in range(2):
            assert model.worker_pid is not None
            psutil.Process(model.worker_pid).kill()
            while model.ready:
                await asyncio.sleep(0.01)
            assert (await model.predict(TEXTS)).predictions == expected

    serve(store, work)


def test_a_model_that_cannot_come_back_says_so(
    store: BundleStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(served_model, "RESTART_WAIT_S", 1.5)

    async def work(model: ServedModel) -> None:
        store.graph(model.variant).write_bytes(b"rotten")
        assert model.worker_pid is not None
        psutil.Process(model.worker_pid).kill()
        while model.ready:
            await asyncio.sleep(0.01)
        with pytest.raises(ModelDown, match="cannot be loaded again") as caught:
            await model.predict(TEXTS)
        assert caught.value.hint

    serve(store, work)
    assert "cannot be loaded again" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_the_end_of_a_worker_costs_its_request_alone_and_is_reported(
    store: BundleStore, number: signal.Signals
) -> None:
    async def work(model: ServedModel) -> None:
        assert (model.state.ready, model.state.trouble) == (True, "")
        worker = psutil.Process(model.worker_pid)
        worker.suspend()  # it has the request, and does not answer yet
        call = asyncio.ensure_future(model.predict(TEXTS))
        waiting = asyncio.ensure_future(model.predict(TEXTS))
        await asyncio.sleep(0.1)
        worker.send_signal(number)
        if number != signal.SIGKILL:  # which ends a process that stands still, too
            worker.resume()
        with pytest.raises(ModelDown, match="died") as caught:
            await call
        assert caught.value.status is grpc.StatusCode.UNAVAILABLE
        assert "repeat" in caught.value.hint
        with contextlib.suppress(ModelDown):  # it waited for the same process
            await waiting
        while not model.state.restarts:
            if not model.ready and model.state.last_end:
                assert number.name in model.state.trouble
            await asyncio.sleep(0.01)
        assert len((await model.predict(TEXTS)).predictions) == 2
        assert model.state.last_end == f"killed by {number.name}"
        assert (model.state.restarts, model.state.trouble) == (1, "")

    serve(store, work)


def test_pauses_between_restarts_double(
    store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_model, "FIRST_PAUSE_S", 0.01)

    async def work(model: ServedModel) -> list[float]:
        store.graph(model.variant).write_bytes(b"rotten")
        psutil.Process(model.worker_pid).kill()
        seen: list[float] = []
        while len(seen) < 4:
            pause_s = model.state.pause_s
            if pause_s is not None and pause_s not in seen:
                seen.append(pause_s)
            await asyncio.sleep(0.001)
        assert "cannot be loaded again" in model.state.trouble
        return seen

    assert serve(store, work) == pytest.approx([0.01, 0.02, 0.04, 0.08])


def test_a_request_beyond_the_memory_limit_costs_itself_alone(store: BundleStore) -> None:
    large = {"input_ids": np.zeros((MAX_ROWS, 1 << 15), np.int64)}  # 256 MiB

    async def within(model: ServedModel) -> None:
        with pytest.raises(InputError, match="missing"):
            await model.infer(large)

    async def beyond(model: ServedModel) -> None:
        with pytest.raises(ModelDown, match="died"):
            await model.infer(large)
        assert len((await model.predict(TEXTS)).predictions) == 2
        assert "memory" in model.state.last_end

    serve(store, beyond, ServingRule(memory_bytes=200 << 20))
    serve(store, within)


def test_a_request_that_is_called_off_while_it_waits_is_not_computed(store: BundleStore) -> None:
    async def work(model: ServedModel) -> None:
        worker = psutil.Process(model.worker_pid)
        worker.suspend()
        first = asyncio.ensure_future(model.predict(TEXTS))
        others = [asyncio.ensure_future(model.predict(TEXTS)) for _ in range(QUEUE_LIMIT - 1)]
        await asyncio.sleep(0.05)
        with pytest.raises(BoardBusy):
            await model.predict(TEXTS)
        for one in others:
            one.cancel()  # what gRPC does when a deadline passes, or a client hangs up
        await asyncio.wait(others)
        second = asyncio.ensure_future(model.predict(TEXTS))  # there is room
        await asyncio.sleep(0.05)
        worker.resume()
        await asyncio.gather(first, second)
        assert model.statistics.executions == 2

    serve(store, work)


def test_an_unloaded_model_returns_its_memory(store: BundleStore, tmp_path: Path) -> None:
    """To within 5 %, by the resident memory of a process that does nothing else."""
    command = [sys.executable, str(MEMORY), str(tmp_path / "state")]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert min(told["loaded"]) > 1.05 * told["empty"]
    assert told["closed"] < 1.05 * told["empty"]


def test_the_queue_is_bounded(store: BundleStore) -> None:
    async def work(model: ServedModel) -> list[Any]:
        calls = [model.predict(TEXTS[:1]) for _ in range(QUEUE_LIMIT + 3)]
        found = list(await asyncio.gather(*calls, return_exceptions=True))
        assert len((await model.predict(TEXTS)).predictions) == 2, "there is room again"
        return found

    found = serve(store, work)
    refused = [one for one in found if isinstance(one, BaseException)]
    assert len(refused) == 3
    assert all(isinstance(one, BoardBusy) and one.hint for one in refused)


def test_an_end_waits_for_what_came_before(store: BundleStore) -> None:
    async def work(model: ServedModel) -> None:
        calls = [asyncio.ensure_future(model.predict(TEXTS)) for _ in range(5)]
        await asyncio.sleep(0)  # all have been admitted and are being tokenized
        await model.close()
        answers = await asyncio.gather(*calls)
        assert [len(answer.predictions) for answer in answers] == [2] * 5

    serve(store, work)


@pytest.mark.parametrize("rows", [0, MAX_ROWS + 1])
def test_a_request_has_some_rows_but_not_any_number(store: BundleStore, rows: int) -> None:
    async def work(model: ServedModel) -> None:
        one = golden_inputs(model.card)
        with pytest.raises(InputError):
            await model.infer({name: np.resize(t, (rows, t.shape[1])) for name, t in one.items()})

    serve(store, work)
