"""Bodies of pages, drawn one at a time in a process of their own and kept until they change."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from edgetran_host.dashboard.bodies import body

KEPT = 32  # bodies with their pictures, half a megabyte each
BROKEN = '<p class="trouble">The process that draws ended. Is memory short? Load the page anew.</p>'


class Drawer:
    def __init__(self) -> None:
        self._one = CapacityLimiter(1)  # drawings may not take the machine from a measurement
        self._kept: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()

    async def draw(self, kind: str, path: Path, stamp: str) -> str:
        """stamp: of what is drawn now."""
        key = (kind, str(path))
        if self._kept.get(key, ("", ""))[0] != stamp:
            try:
                drawn = await to_process.run_sync(body, kind, str(path), limiter=self._one)
            except BrokenWorkerProcess:
                return BROKEN
            self._kept[key] = (stamp, drawn)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key][1]
