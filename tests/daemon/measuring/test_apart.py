"""Work apart from its listener: it ends by itself, by its error, or when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from edgetran_daemon.measuring.apart import apart


class Work:
    def __init__(self, steps: int, error: Exception | None = None) -> None:
        self.steps, self.error = steps, error
        self.done = 0
        self.tidy = False

    async def events(self) -> AsyncGenerator[int, None]:
        try:
            for step in range(self.steps):
                await asyncio.sleep(0)
                self.done += 1
                yield step
            if self.error is not None:
                raise self.error
        finally:
            await asyncio.sleep(0)
            self.tidy = True


async def later(steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)
    raise TimeoutError("over")


def test_everything_arrives_and_errors_come_last() -> None:
    async def run(work: Work) -> list[int]:
        return [event async for event in apart(work.events())]

    assert asyncio.run(run(Work(5))) == [0, 1, 2, 3, 4]
    work, found = Work(3, ValueError("broken")), []

    async def listen() -> None:
        async for event in apart(work.events()):
            found.append(event)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(listen())
    assert (found, work.tidy) == ([0, 1, 2], True)


def test_a_listener_that_sleeps_does_not_hold_it_up() -> None:
    async def run() -> None:
        work = Work(5)
        events = apart(work.events())
        assert await events.__anext__() == 0
        for _ in range(20):
            await asyncio.sleep(0)
        assert (work.done, work.tidy) == (5, True)
        assert [event async for event in events] == [1, 2, 3, 4]

    asyncio.run(run())


def test_it_stops_when_it_must_and_says_why() -> None:
    async def run() -> None:
        work = Work(1_000_000)
        with pytest.raises(TimeoutError, match="over"):
            async for _ in apart(work.events(), later(20)):
                pass
        assert work.tidy
        assert work.done < 100

    asyncio.run(run())


def test_leaving_early_stops_it() -> None:
    async def run() -> None:
        work = Work(1_000_000)
        events = apart(work.events(), later(10_000))
        await events.__anext__()
        await events.aclose()
        assert work.tidy
        done = work.done
        await asyncio.sleep(0.01)
        assert work.done == done
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
