"""Work on several requests of one stream at a time, and answers in the order of the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Optional, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def in_order(
    requests: AsyncIterator[Request], work: Callable[[Request], Awaitable[Answer]], at_once: int
) -> AsyncGenerator[Answer, None]:
    """Reads no further than `at_once` requests ahead. Leaving early cancels what is under way."""
    begun: asyncio.Queue[Optional[asyncio.Future[Answer]]] = asyncio.Queue()  # None: no more
    room = asyncio.Semaphore(at_once)

    async def read() -> None:
        try:
            await room.acquire()
            async for request in requests:
                begun.put_nowait(asyncio.ensure_future(work(request)))
                await room.acquire()
        finally:
            begun.put_nowait(None)

    reading = asyncio.ensure_future(read())
    try:
        while (answering := await begun.get()) is not None:
            yield await answering
            room.release()
        await reading  # the stream may have broken off
    finally:
        reading.cancel()
        while not begun.empty():
            left = begun.get_nowait()
            if left is not None:
                left.cancel()


async def until(
    requests: AsyncIterator[Request], stopping: asyncio.Event
) -> AsyncGenerator[Request, None]:
    """The requests that come before `stopping`: who keeps a stream open holds nobody up."""
    stopped = asyncio.ensure_future(stopping.wait())
    following: Optional[asyncio.Future[Request]] = None
    try:
        while not stopping.is_set():
            following = asyncio.ensure_future(requests.__anext__())
            await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        stopped.cancel()
        if following is not None:
            following.add_done_callback(_heard)
            following.cancel()


def _heard(request: asyncio.Future[Request]) -> None:
    """How a request ended that nobody awaits any longer is no news: its client left."""
    if not request.cancelled():
        request.exception()
