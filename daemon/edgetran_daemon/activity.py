"""How long nobody has asked for anything, so that a daemon of one's own can leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Activity:
    """Counts calls under way; idle from the end of the last one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way = 0
        self._last_s = clock()

    @contextmanager
    def call(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._last_s = self._clock()

    @property
    def busy(self) -> bool:
        return self._under_way > 0

    @property
    def idle_s(self) -> float:
        return 0.0 if self._under_way else self._clock() - self._last_s
