"""Work that goes on without whoever listens to it, and stops when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Optional, TypeVar

Event = TypeVar("Event")


async def apart(
    events: AsyncGenerator[Event, None], ended: Optional[Coroutine[Any, Any, Any]] = None
) -> AsyncGenerator[Event, None]:
    """The events, made in a task of their own: a listener that hangs does not hold them up.

    ended: raises when the work has to stop; its error then ends the stream. Leaving
    early stops the work, too.
    """
    made: asyncio.Queue[Optional[Event]] = asyncio.Queue()  # None: no more

    async def work() -> None:
        async for event in events:
            made.put_nowait(event)

    working = asyncio.ensure_future(work())
    working.add_done_callback(lambda _: made.put_nowait(None))
    ending = asyncio.ensure_future(ended) if ended is not None else None
    if ending is not None:
        ending.add_done_callback(lambda _: working.cancel())
    try:
        while (event := await made.get()) is not None:
            yield event
        if ending is not None and working.cancelled():
            await ending
        await working
    finally:
        tasks = [task for task in (working, ending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
