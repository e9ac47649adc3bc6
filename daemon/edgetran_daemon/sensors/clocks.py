"""Stamps of another device's clock, on ours.

A message takes at least some time, and often longer: the smallest difference between its
arrival here and its stamp there is nearest to the true offset, and too large by the shortest
way. Clocks drift, so only the last while counts. What was stamped later is not put earlier.
"""

from __future__ import annotations

from collections import deque

MEMORY_S = 60.0
BACK_S = 1.0  # a stamp so far before the last one: the device started anew


class Offset:
    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()  # (arrived_s, difference), ascending
        self._last_s = float("-inf")
        self._last_local_s = float("-inf")

    def local_s(self, stamp_s: float, arrived_s: float) -> float:
        """When, on our clock, the other one showed `stamp_s`."""
        if stamp_s < self._last_s - BACK_S:
            self._seen.clear()
        self._last_s = stamp_s
        difference_s = arrived_s - stamp_s
        while self._seen and self._seen[-1][1] >= difference_s:
            self._seen.pop()
        self._seen.append((arrived_s, difference_s))
        while self._seen[0][0] < arrived_s - MEMORY_S:
            self._seen.popleft()
        self._last_local_s = max(self._last_local_s, stamp_s + self._seen[0][1])
        return self._last_local_s
