"""Answers of a stream: in order, a few at a time, and nothing left when it is given up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from edgetran_daemon.services.in_order import in_order, until
from hypothesis import given
from hypothesis import strategies as st


class Shop:
    """Finishes each order when told to."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.doors: dict[int, asyncio.Event] = {}

    async def serve(self, number: int) -> int:
        self.begun.append(number)
        door = self.doors.setdefault(number, asyncio.Event())
        try:
            await door.wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number * number


async def orders(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@given(st.permutations(range(6)), st.integers(1, 8))
def test_answers_keep_the_order_of_the_requests(finished: list[int], at_once: int) -> None:
    async def work() -> list[int]:
        shop = Shop()
        for number in finished:
            shop.doors[number] = asyncio.Event()

        async def open_doors() -> None:
            for number in finished:
                shop.doors[number].set()
                await asyncio.sleep(0)

        opening = asyncio.ensure_future(open_doors())
        found = [one async for one in in_order(orders(6), shop.serve, at_once)]
        await opening
        return found

    assert asyncio.run(work()) == [0, 1, 4, 9, 16, 25]


def test_no_more_than_so_many_are_under_way() -> None:
    async def work() -> None:
        shop = Shop()
        answers = in_order(orders(10), shop.serve, 3)
        first = asyncio.ensure_future(answers.__anext__())
        for _ in range(20):
            await asyncio.sleep(0)
        assert shop.begun == [0, 1, 2]
        shop.doors[1].set()  # not the first: nothing is handed out, nothing more begun
        for _ in range(20):
            await asyncio.sleep(0)
        assert shop.begun == [0, 1, 2]
        assert not first.done()
        shop.doors[0].set()
        assert await first == 0
        await answers.aclose()
        for _ in range(3):
            await asyncio.sleep(0)
        assert 2 in shop.cancelled

    asyncio.run(work())


def test_a_stream_that_breaks_off_says_so_after_what_came_before() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def work() -> None:
        shop = Shop()
        shop.doors[1] = asyncio.Event()
        shop.doors[1].set()
        answers = in_order(broken(), shop.serve, 4)
        assert await answers.__anext__() == 1
        with pytest.raises(ConnectionError):
            await answers.__anext__()

    asyncio.run(work())


def test_a_stream_that_stays_open_ends_when_it_must() -> None:
    async def work() -> None:
        stopping, waiting = asyncio.Event(), asyncio.Event()

        async def open_end() -> AsyncIterator[int]:
            yield 1
            yield 2
            waiting.set()
            await asyncio.Event().wait()

        async def stop() -> None:
            await waiting.wait()
            stopping.set()

        stopper = asyncio.ensure_future(stop())
        assert [one async for one in until(open_end(), stopping)] == [1, 2]
        await stopper
        assert [one async for one in until(orders(3), asyncio.Event())] == [0, 1, 2]
        assert [one async for one in until(orders(3), stopping)] == []

    asyncio.run(work())


def test_a_client_that_leaves_while_it_is_listened_to_is_no_error() -> None:
    problems: list[object] = []

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: problems.append(what))
        gone = asyncio.Event()

        async def requests() -> AsyncIterator[int]:
            yield 1
            await gone.wait()

        heard = until(requests(), asyncio.Event())
        assert await heard.__anext__() == 1
        following = asyncio.ensure_future(heard.__anext__())
        for _ in range(3):
            await asyncio.sleep(0)
        following.cancel()
        gone.set()
        await asyncio.wait([following])
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()

    asyncio.run(work())
    assert problems == []
