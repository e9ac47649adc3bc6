"""Models on their way out: each to its end, even if whoever waits for it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Retiring:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def begin(self, ending: Coroutine[Any, Any, Result]) -> asyncio.Future[Result]:
        task = asyncio.ensure_future(ending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def to_its_end(self, ending: Coroutine[Any, Any, Result]) -> Result:
        """For a caller who may be cancelled meanwhile, which ends only the wait."""
        return await asyncio.shield(self.begin(ending))

    async def close(self) -> None:
        await asyncio.gather(*self._tasks)
