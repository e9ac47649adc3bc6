"""At start: everything that served before, unless it may be what ended the daemon.

Each start is counted before a model is loaded, and the count goes back to nothing when the
daemon has run for a while or was stopped. After MOST_STARTS that did not last, the newest
change is taken back: its name falls back to what served before, or, with nothing to fall back
to, its model is loaded only when all others serve and the daemon has run for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Optional

from edgetran_protos.errors import EdgeTranError

from edgetran_daemon.deployment.ledger import Ledger, Names, Record, Slot
from edgetran_daemon.serving.served_model import ServedModel

log = logging.getLogger(__name__)

MOST_STARTS = 3
BLAME = f"the daemon ended {MOST_STARTS} times in a row soon after it started"


class Restoration:
    def __init__(
        self,
        ledger: Ledger,
        staged: Callable[[str, Slot], Awaitable[ServedModel]],
        served: dict[str, ServedModel],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._staged = staged
        self._served = served
        self._clock = clock

    async def run(self) -> None:
        try:
            suspect = self._suspect() if self._ledger.starts > MOST_STARTS else None
            if suspect is not None:
                await self._take_back(suspect)
            await asyncio.gather(*(self._restore(model) for model in self._ledger.models()))
        except asyncio.CancelledError:  # the daemon was stopped: no model is to blame
            self._note(self._ledger.steady)
            raise

    def _suspect(self) -> Optional[str]:
        """The newest change that was not blamed yet."""
        found = {model: self._ledger.find(model) for model in self._ledger.models()}
        found = {model: names for model, names in found.items() if names and names.loaded}
        ages = {
            m: names.current.since_unix_s for m, names in found.items() if names and not names.late
        }
        return max(ages, key=lambda model: ages[model], default=None)

    async def _take_back(self, model: str) -> None:
        log.warning("%s: %s", model, BLAME)
        names = self._ledger.find(model)
        try:
            self._ledger.blame(model)
            if names is not None and names.previous is not None:
                await self._fall_back(model, names, BLAME)
        except (EdgeTranError, OSError) as exc:
            log.error("the record of deployments cannot be written: %s", exc)

    async def _restore(self, model: str) -> None:
        names = self._ledger.find(model)
        if names is None or not names.loaded or names.late or model in self._served:
            return
        try:
            self._served[model] = await self._staged(model, names.current)
        except (EdgeTranError, OSError) as exc:  # a failing disk must not take the others along
            log.warning("%s cannot serve again: %s", model, exc)
            await self._fall_back(model, names, str(exc))

    async def _fall_back(self, model: str, names: Names, reason: str) -> None:
        current, previous = names.current, names.previous
        failed = Record.failed(
            model, current.bundle_digest, current.variant, f"at start: {reason}", self._clock()
        )
        if previous is None:
            self._note(lambda: self._ledger.add(failed))
            return
        try:
            self._served[model] = await self._staged(model, previous)
        except (EdgeTranError, OSError) as exc:
            log.warning("nor can what served as %s before: %s", model, exc)
            self._note(lambda: self._ledger.add(failed))
            return
        slot = previous.at(self._clock())
        self._note(lambda: self._ledger.fall_back(model, slot, failed))

    def _note(self, write: Callable[[], None]) -> None:
        """What cannot be written down (a full disk) does not stop what serves."""
        try:
            write()
        except (EdgeTranError, OSError) as exc:
            log.error("the record of deployments cannot be written: %s", exc)
