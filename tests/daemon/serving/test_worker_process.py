"""One worker process: its answers, its death, and callers that leave early."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving import priority, worker_process
from edgetran_daemon.serving.worker_process import Loaded, WorkerProcess
from edgetran_protos.errors import InputError, ModelDown, RuntimeFault

Work = Callable[[WorkerProcess, Loaded], Awaitable[Any]]
MANY = 1_000_000


@pytest.fixture
def graph(tmp_path: Path, tiny: ModuleType) -> Path:
    path = tmp_path / "graph"
    path.write_bytes(tiny.graph())
    return path


@pytest.fixture
def tokens(tiny: ModuleType) -> dict[str, Tensor]:
    found: dict[str, Tensor] = tiny.encode(tiny.TEXTS)
    return found


def with_worker(graph: Path, work: Work) -> Any:
    async def run() -> Any:
        worker, loaded = await WorkerProcess.start("onnxruntime", graph, 1)
        try:
            return await work(worker, loaded)
        finally:
            await worker.stop()
            assert not psutil.pid_exists(worker.pid) or not worker.alive

    return asyncio.run(run())


def test_it_answers_describes_itself_and_ends(
    graph: Path, tokens: dict[str, Tensor], tiny: ModuleType
) -> None:
    async def work(worker: WorkerProcess, loaded: Loaded) -> int:
        assert loaded.runtime.startswith("onnxruntime ")
        assert loaded.load_s > 0
        assert {spec.name: spec.shape for spec in loaded.inputs}["input_ids"] == (None, tiny.LENGTH)
        ran = await worker.run(tokens)
        np.testing.assert_allclose(ran.outputs["logits"], tiny.reference(tokens), atol=1e-5)
        assert 0 < ran.run_s < 10
        assert worker.peak_memory_bytes > 1 << 20
        return worker.pid

    assert not psutil.pid_exists(with_worker(graph, work))


def test_a_run_that_nobody_waits_for_is_ended(
    tmp_path: Path, tokens: dict[str, Tensor], tiny: ModuleType
) -> None:
    """At whatever moment its caller leaves: before it begins, while it runs, or too late."""
    graph = tmp_path / "endless"
    graph.write_bytes(tiny.endless_graph())
    endless = {**tokens, "attention_mask": 2 * tokens["attention_mask"]}

    async def work(worker: WorkerProcess, loaded: Loaded) -> int:
        expected = tiny.reference(tokens)
        for number in range(60):
            leaving = [asyncio.ensure_future(worker.run(endless)) for _ in range(1 + number % 3)]
            staying = asyncio.ensure_future(worker.run(tokens))
            await asyncio.sleep(0.0002 * (number % 10))
            for one in leaving[:: number % 2 * 2 - 1]:  # either the first or the last goes first
                one.cancel()
            np.testing.assert_allclose((await staying).outputs["logits"], expected, atol=1e-5)
            done = asyncio.ensure_future(worker.run(tokens))
            await asyncio.sleep(0.0001 * (number % 10))
            done.cancel()  # may meet its end, and must not meet the next run
            ran = await worker.run(tokens)
            np.testing.assert_allclose(ran.outputs["logits"], expected, atol=1e-5)
        return worker.pid

    with_worker(graph, work)


def test_put_aside_it_gives_way_until_it_is_brought_forward(
    graph: Path, tokens: dict[str, Tensor]
) -> None:
    def priorities(pid: int) -> set[int]:
        threads = Path(f"/proc/{pid}/task")
        return {os.getpriority(os.PRIO_PROCESS, int(one.name)) for one in threads.iterdir()}

    async def run() -> None:
        worker, _ = await WorkerProcess.start("onnxruntime", graph, 2, aside=True)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        try:
            await worker.run(tokens)
            if priorities(worker.pid) == {own}:
                pytest.skip("no process can be brought forward here, so none is put aside")
            assert priorities(worker.pid) == {priority.ASIDE}
            worker.bring_forward()
            assert priorities(worker.pid) == {own}
            await worker.run(tokens)
        finally:
            await worker.stop()
        worker.bring_forward()  # it is gone: nothing to do

    asyncio.run(run())


def test_callers_at_once_get_each_their_own_answer(
    graph: Path, tokens: dict[str, Tensor], tiny: ModuleType
) -> None:
    rows = [{name: t[[i % 3]] for name, t in tokens.items()} for i in range(20)]

    async def work(worker: WorkerProcess, loaded: Loaded) -> list[Tensor]:
        ran = await asyncio.gather(*(worker.run(row) for row in rows))
        return [one.outputs["logits"] for one in ran]

    for row, found in zip(rows, with_worker(graph, work)):
        np.testing.assert_allclose(found, tiny.reference(row), atol=1e-5)


def test_a_caller_that_leaves_does_not_leave_its_answer_to_the_next(
    graph: Path, tokens: dict[str, Tensor], tiny: ModuleType
) -> None:
    other = {name: tensor[::-1] for name, tensor in tokens.items()}

    async def work(worker: WorkerProcess, loaded: Loaded) -> Tensor:
        busy = worker.time(tokens, runs=1, min_s=0.3, max_s=9.0, max_runs=MANY)
        leaver = asyncio.ensure_future(busy)
        await asyncio.sleep(0.1)  # it is being answered
        leaver.cancel()
        return (await worker.run(other)).outputs["logits"]

    found = with_worker(graph, work)
    np.testing.assert_allclose(found, tiny.reference(other), atol=1e-5)


def test_a_refused_input_costs_nothing_but_the_call(graph: Path, tokens: dict[str, Tensor]) -> None:
    async def work(worker: WorkerProcess, loaded: Loaded) -> None:
        with pytest.raises(InputError, match="input_ids"):
            await worker.run({})
        assert (await worker.run(tokens)).outputs["logits"].shape == (3, 3)

    with_worker(graph, work)


def test_timed_runs_keep_to_their_limits(graph: Path, tokens: dict[str, Tensor]) -> None:
    async def work(worker: WorkerProcess, loaded: Loaded) -> list[Tensor]:
        async def time_(inputs: dict[str, Tensor], **limits: Any) -> Tensor:
            timed = await worker.time(inputs, **limits)
            assert (timed.started_s[1:] >= timed.ended_s[:-1]).all(), "one after the other"
            return timed.samples_s

        return [
            await time_(tokens, runs=7, min_s=0.0, max_s=9.0, max_runs=MANY),
            await time_(tokens, runs=1, min_s=0.1, max_s=9.0, max_runs=MANY),
            await time_(tokens, runs=MANY, min_s=0.0, max_s=0.1, max_runs=MANY),
            await time_(tokens, runs=MANY, min_s=9.0, max_s=9.0, max_runs=12),
        ]

    exact, lasting, cut, capped = with_worker(graph, work)
    assert (len(exact), len(capped)) == (7, 12)
    assert 1 < len(cut) < MANY
    assert len(lasting) > 1
    for samples_s in (exact, lasting, cut, capped):
        assert samples_s.dtype == np.float64
        assert (samples_s > 0).all()
    assert cut.sum() < 1.0
    assert lasting.sum() <= 2.0


def test_a_worker_that_dies_in_the_middle_is_a_fault(
    graph: Path, tokens: dict[str, Tensor]
) -> None:
    async def work(worker: WorkerProcess, loaded: Loaded) -> None:
        call = asyncio.ensure_future(
            worker.time(tokens, runs=MANY, min_s=0.0, max_s=60.0, max_runs=1 << 40)
        )
        await asyncio.sleep(0.1)
        psutil.Process(worker.pid).kill()
        with pytest.raises(ModelDown, match="died") as caught:
            await call
        assert caught.value.hint
        assert await worker.wait() == -9
        with pytest.raises(ModelDown):
            await worker.run(tokens)

    with_worker(graph, work)


def test_a_worker_that_hangs_is_ended(
    graph: Path, tokens: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "RUN_LIMIT_S", 0.3)

    async def work(worker: WorkerProcess, loaded: Loaded) -> None:
        psutil.Process(worker.pid).suspend()
        with pytest.raises(RuntimeFault, match="did not answer"):
            await worker.run(tokens)
        assert await worker.wait() == -9

    with_worker(graph, work)


def test_a_graph_that_cannot_be_loaded_leaves_no_process(graph: Path) -> None:
    graph.write_bytes(b"no graph at all")
    before = set(psutil.Process().children())
    with pytest.raises(RuntimeFault, match="cannot load"):
        with_worker(graph, lambda worker, loaded: asyncio.sleep(0))
    assert set(psutil.Process().children()) <= before


def test_one_that_has_too_little_memory_to_load_says_so(graph: Path) -> None:
    before = set(psutil.Process().children())
    with pytest.raises(ModelDown, match="while it loaded") as caught:
        asyncio.run(WorkerProcess.start("onnxruntime", graph, 1, memory_bytes=1 << 20))
    assert "--worker-memory-mb" in caught.value.hint
    assert set(psutil.Process().children()) <= before


def test_a_worker_that_ends_before_it_is_asked_is_a_fault(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end may have been heard of before it is put aside on its cores."""
    spawn = WorkerProcess._spawn

    async def spawn_and_wait(*arguments: Any) -> WorkerProcess:
        worker = await spawn(*arguments)
        psutil.Process(worker.pid).kill()
        assert await worker.wait() == -9
        return worker

    monkeypatch.setattr(WorkerProcess, "_spawn", staticmethod(spawn_and_wait))
    with pytest.raises(ModelDown, match="died"):
        asyncio.run(WorkerProcess.start("onnxruntime", graph, 1, cores=[0], aside=True))


def test_a_worker_leaves_when_its_supervisor_is_gone(graph: Path) -> None:
    async def work(worker: WorkerProcess, loaded: Loaded) -> None:
        worker._connection.close()  # what the system does when the supervisor dies
        begun = time.monotonic()
        assert await asyncio.wait_for(worker.wait(), 10) == 0
        assert time.monotonic() - begun < 5

    with_worker(graph, work)
