"""Requests that share a run get what they would have got alone, and nobody waits too long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from edgetran_daemon.runtimes.base import Tensor, TensorSpec
from edgetran_daemon.serving.batching import Batcher, Shared, can_batch
from edgetran_daemon.serving.serving_rules import Batching, BatchRule
from edgetran_daemon.serving.statistics import Phases
from edgetran_daemon.serving.worker_process import Ran
from edgetran_protos.errors import InputError, ModelDown, RunOverdue, RuntimeFault
from hypothesis import given
from hypothesis import strategies as st

NOTHING = Phases(0.0, 0.0, 0.0, 0.0)
POISON = 99.0


class Graph:
    """Doubles its rows and keeps account of its runs; a poisoned row spoils a run."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.runs: list[int] = []
        self.takes_s = takes_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.down = False

    async def execute(self, inputs: Mapping[str, Tensor], rows: int) -> Ran:
        self.runs.append(rows)
        await self.gate.wait()
        await asyncio.sleep(self.takes_s)
        if self.down:
            raise ModelDown("the model's process died")
        (tensor,) = inputs.values()
        if (tensor == POISON).any():
            raise InputError("an index is out of bounds")
        return Ran({"twice": tensor * 2}, self.takes_s, NOTHING)


def request(*values: float, width: int = 2) -> dict[str, Tensor]:
    return {"x": np.array([[value] * width for value in values], np.float32)}


def answer(found: Shared) -> list[float]:
    return [float(row[0]) for row in found.ran.outputs["twice"]]


async def together(batcher: Batcher, *requests: dict[str, Tensor]) -> list[Any]:
    return await asyncio.gather(*map(batcher.run, requests), return_exceptions=True)


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=4), max_size=12), st.data())
def test_each_gets_its_own_rows(sizes: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 8))
    widths = data.draw(st.lists(st.integers(1, 2), min_size=len(sizes), max_size=len(sizes)))

    async def work() -> None:
        graph = Graph()
        batcher = Batcher(graph.execute, BatchRule(rows))
        requests = [request(*values, width=width) for values, width in zip(sizes, widths)]
        found = await together(batcher, *requests)
        assert [answer(one) for one in found] == [[2.0 * v for v in values] for values in sizes]
        assert sum(graph.runs) == sum(map(len, sizes))
        for one, values in zip(found, sizes):
            assert one.rows <= max(rows, len(values))
            assert len(values) <= one.rows

    asyncio.run(work())


def test_while_the_model_is_busy_requests_gather() -> None:
    async def work() -> None:
        graph = Graph()
        graph.gate.clear()
        batcher = Batcher(graph.execute, BatchRule(4))
        asked = [asyncio.ensure_future(batcher.run(request(value))) for value in range(6)]
        await asyncio.sleep(0.01)
        assert graph.runs == [1, 1]  # nobody to wait for, and one that follows at once
        graph.gate.set()
        assert [answer(one) for one in await asyncio.gather(*asked)] == [
            [2.0 * v] for v in range(6)
        ]
        assert graph.runs == [1, 1, 4]

    asyncio.run(work())


def test_a_delay_lets_them_gather_before_an_idle_model() -> None:
    async def work() -> None:
        graph = Graph()
        batcher = Batcher(graph.execute, BatchRule(4, delay_s=0.05))
        first = asyncio.ensure_future(batcher.run(request(1)))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(batcher.run(request(2, 3)))
        both = await asyncio.gather(first, second)
        assert graph.runs == [3]
        assert [answer(one) for one in both] == [[2.0], [4.0, 6.0]]
        assert both[0].ran.phases.queue_s >= 0.05  # it is said that it waited
        assert both[1].ran.phases.queue_s < both[0].ran.phases.queue_s

    asyncio.run(work())


def test_a_full_batch_does_not_wait() -> None:
    async def work() -> None:
        graph = Graph()
        batcher = Batcher(graph.execute, BatchRule(2, delay_s=60.0))
        found = await asyncio.wait_for(together(batcher, request(1), request(2)), 10)
        assert [answer(one) for one in found] == [[2.0], [4.0]]
        # a request as large as a batch has nobody to wait for
        assert answer(await asyncio.wait_for(batcher.run(request(1, 2)), 10)) == [2.0, 4.0]
        assert graph.runs == [2, 2]

    asyncio.run(work())


def test_who_leaves_takes_the_request_along() -> None:
    async def work() -> None:
        graph = Graph()
        graph.gate.clear()
        batcher = Batcher(graph.execute, BatchRule(4))
        asked = [asyncio.ensure_future(batcher.run(request(value))) for value in range(5)]
        await asyncio.sleep(0.01)
        asked[2].cancel()
        await asyncio.sleep(0)
        graph.gate.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[2], asyncio.CancelledError)
        kept = [one for one in found if isinstance(one, Shared)]
        assert [answer(one) for one in kept] == [[0.0], [2.0], [6.0], [8.0]]
        assert graph.runs == [1, 1, 2]

    asyncio.run(work())


def test_one_bad_request_spoils_no_other() -> None:
    async def work() -> None:
        graph = Graph()
        batcher = Batcher(graph.execute, BatchRule(4, delay_s=0.01))
        found = await together(batcher, request(1), request(POISON), request(3))
        assert answer(found[0]) == [2.0]
        assert isinstance(found[1], InputError)
        assert answer(found[2]) == [6.0]
        assert graph.runs == [3, 1, 1, 1]
        assert answer(await batcher.run(request(5))) == [10.0]

    asyncio.run(work())


def test_a_dead_worker_is_everybodys_and_the_next_are_served() -> None:
    async def work() -> None:
        graph = Graph()
        batcher = Batcher(graph.execute, BatchRule(4, delay_s=0.01))
        graph.down = True
        found = await together(batcher, request(1), request(2))
        assert [type(one) for one in found] == [ModelDown, ModelDown]
        assert graph.runs == [2]
        graph.down = False
        assert answer(await batcher.run(request(5))) == [10.0]

    asyncio.run(work())


@pytest.mark.parametrize("trouble", [RunOverdue("it hangs"), MemoryError(), KeyError("twice")])
def test_what_is_nobodys_fault_is_everybodys_and_runs_once(trouble: Exception) -> None:
    async def work() -> None:
        runs: list[int] = []

        async def execute(inputs: Mapping[str, Tensor], rows: int) -> Ran:
            runs.append(rows)
            raise trouble

        batcher = Batcher(execute, BatchRule(4, delay_s=0.01))
        found = await asyncio.wait_for(together(batcher, request(1), request(2)), 10)
        assert [type(one) for one in found] == 2 * [type(trouble)]
        assert runs == [2]

    asyncio.run(work())


def test_a_graph_that_answers_other_rows_than_it_is_asked() -> None:
    """It answers each as alone, and is not asked about two at once again."""

    async def work() -> None:
        runs: list[int] = []

        async def execute(inputs: Mapping[str, Tensor], rows: int) -> Ran:
            runs.append(rows)
            twice = np.repeat(inputs["x"], 2, axis=0)
            return Ran({"twice": twice}, 0.0, NOTHING)

        batcher = Batcher(execute, BatchRule(4, delay_s=0.01))
        for _ in range(2):
            found = await together(batcher, request(1), request(2, 3))
            assert [answer(one) for one in found] == [[1.0, 1.0], [2.0, 2.0, 3.0, 3.0]]
        assert runs == [3, 1, 2, 1, 2]

    asyncio.run(work())


def test_a_run_that_all_have_left_ends() -> None:
    async def work() -> None:
        graph = Graph()
        graph.gate.clear()
        ended: list[bool] = []

        async def execute(inputs: Mapping[str, Tensor], rows: int) -> Ran:
            try:
                return await graph.execute(inputs, rows)
            except asyncio.CancelledError:
                ended.append(True)
                raise

        batcher = Batcher(execute, BatchRule(4, delay_s=0.01))
        asked = [asyncio.ensure_future(batcher.run(request(value))) for value in range(2)]
        await asyncio.sleep(0.05)
        asked[0].cancel()
        await asyncio.sleep(0.01)
        assert not ended  # one still waits
        asked[1].cancel()
        await asyncio.sleep(0.01)
        assert (graph.runs, ended) == ([2], [True])
        graph.gate.set()
        assert answer(await batcher.run(request(5))) == [10.0]

    asyncio.run(work())


def test_a_request_that_disagrees_with_itself_goes_alone() -> None:
    """Joined, its tensors' rows could lie beside those of others."""

    async def work() -> None:
        seen: list[dict[str, int]] = []

        async def execute(inputs: Mapping[str, Tensor], rows: int) -> Ran:
            seen.append({name: len(tensor) for name, tensor in inputs.items()})
            raise RuntimeFault("refused")

        batcher = Batcher(execute, BatchRule(8, delay_s=0.01))
        crooked = {"a": np.zeros((2, 1)), "b": np.zeros((1, 1))}
        other = {"a": np.zeros((1, 1)), "b": np.zeros((2, 1))}
        assert all(isinstance(e, RuntimeFault) for e in await together(batcher, crooked, other))
        assert seen == [{"a": 2, "b": 1}, {"a": 1, "b": 2}]

    asyncio.run(work())


def test_graphs_of_fixed_rows_cannot() -> None:
    free, fixed = TensorSpec("a", "int64", (None, 8)), TensorSpec("a", "int64", (1, 8))
    assert can_batch([free, free])
    assert not can_batch([free, fixed])
    assert not can_batch([TensorSpec("a", "float32", ())])


class TestRules:
    def test_for_all_and_for_one(self) -> None:
        found = Batching.of_text("8:2.5 home=1 kitchen=16")
        assert found.of("any") == BatchRule(8, 0.0025)
        assert found.of("home") == BatchRule(1)
        assert found.of("kitchen") == BatchRule(16)
        assert Batching.of_text(str(found)) == found
        assert Batching.of_text("").of("any") == BatchRule()

    @pytest.mark.parametrize(
        "text",
        ["x", "0", "-1", "8:x", "8:-1", "8:nan", "8:inf", "=8", "8 4", "a=8 a=4", "1e3", "2000"],
    )
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"rows, and milliseconds|names no model"):
            Batching.of_text(text)
