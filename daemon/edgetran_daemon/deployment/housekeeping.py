"""What has to be done now and then, whether anybody asks for something or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edgetran_protos.errors import EdgeTranError

log = logging.getLogger(__name__)

PERIOD_S = 3600.0


async def keep_house(tidy: Callable[[], Awaitable[int]], period_s: float = PERIOD_S) -> None:
    """Calls `tidy`, which says how many bytes it freed, until cancelled."""
    while True:
        await asyncio.sleep(period_s)
        try:
            freed = await tidy()
        except (EdgeTranError, OSError) as exc:  # a disk that fails must not end what serves
            log.warning("old blobs cannot be removed: %s", exc)
            continue
        if freed:
            log.info("%d bytes that no deployment names were removed", freed)
