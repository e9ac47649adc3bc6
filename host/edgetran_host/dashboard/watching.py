"""What one board says now. Figures end with the connection: a board that is away has none."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from anyio import fail_after  # asyncio.wait_for may lose a cancellation (Python 3.11)
from edgetran import (
    AsyncBoard,
    BoardError,
    BoardInfo,
    BoardUnreachable,
    Deployment,
    EdgeTranError,
    LeaseState,
    TelemetrySample,
)

log = logging.getLogger(__name__)

PERIOD_S = 1.0  # of telemetry
STALE_S = 4.0  # without a sample: the board is taken to be away
ANSWER_S = 5.0  # for a question that needs no work
ASK_PERIOD_S = 1.5  # between looks at deployments and leases
RETRY_S = 1.0
TRACE = 180  # samples that are kept

ASKED, ANSWERS, AWAY = "asked", "answers", "away"

Found = TypeVar("Found")


@dataclass(frozen=True)
class Point:
    unix_s: float
    power_w: float | None
    temperature_c: float | None
    cpu_load: float | None


@dataclass(frozen=True)
class BoardState:
    """All but the name and the reason is empty unless the board answers."""

    name: str
    state: str = ASKED
    address: str = ""
    why: str = ""  # it is away
    hint: str = ""
    answered_unix_s: float | None = None  # when it last did
    info: BoardInfo | None = None
    sample: TelemetrySample | None = None
    trace: tuple[Point, ...] = ()
    deployments: tuple[Deployment, ...] | None = None  # None: not told
    lease: LeaseState | None = None
    refused: tuple[str, ...] = ()  # questions that the board does not answer to us, and why


class BoardWatch:
    """Follows one board, for as long as `run` runs; `state` is what is known now."""

    def __init__(
        self,
        name: str,
        find: Callable[[str], str],
        pace: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """pace: all periods are so many times as long."""
        self.state = BoardState(name)
        self._find = find
        self._pace = pace
        self._clock = clock
        self._trace: deque[Point] = deque(maxlen=TRACE)

    async def run(self) -> None:
        while True:
            try:
                await self._follow(await asyncio.to_thread(self._find, self.state.name))
            except EdgeTranError as error:
                self._away(str(error), error.hint)
            except TimeoutError:
                self._away("the board is silent", "is it on, and the network up?")
            except Exception as error:  # a defect; figures may not stand still for it
                log.exception("following %s", self.state.name)
                self._away(f"{type(error).__name__}: {error}", "see the dashboard's terminal")
            await asyncio.sleep(self._pace * RETRY_S)

    async def _follow(self, address: str) -> None:
        """Until the connection breaks, which raises."""
        async with AsyncBoard(address) as board:
            with fail_after(ANSWER_S):
                info = await board.describe()
            self._trace.clear()
            self._set(state=ANSWERS, address=address, why="", hint="", info=info)
            parts = [asyncio.create_task(part) for part in (self._feel(board), self._ask(board))]
            try:
                ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                for part in ended:
                    part.result()
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)

    async def _feel(self, board: AsyncBoard) -> None:
        async with aclosing(self._samples(board)) as samples:
            while True:
                try:
                    with fail_after(self._pace * STALE_S):
                        sample = await samples.__anext__()
                except StopAsyncIteration:
                    raise BoardUnreachable("the daemon hung up", hint="was it stopped?") from None
                now = self._clock()
                self._trace.append(
                    Point(now, sample.power_w, sample.temperature_c, sample.cpu_load)
                )
                self._set(sample=sample, trace=tuple(self._trace), answered_unix_s=now)

    async def _ask(self, board: AsyncBoard) -> None:
        while True:
            deployments, no_list = await _told("deployments", board.deployments(history=True))
            lease, no_lease = await _told("lease", board.leased())
            self._set(
                deployments=None if deployments is None else tuple(deployments),
                lease=lease,
                refused=tuple(why for why in (no_list, no_lease) if why),
            )
            await asyncio.sleep(self._pace * ASK_PERIOD_S)

    def _samples(self, board: AsyncBoard) -> Any:
        """The SDK annotates an iterator; what it gives can be closed."""
        return board.telemetry(self._pace * PERIOD_S)

    def _away(self, why: str, hint: str) -> None:
        self.state = BoardState(
            self.state.name,
            AWAY,
            self.state.address,
            why,
            hint,
            self.state.answered_unix_s,
        )

    def _set(self, **parts: Any) -> None:
        self.state = replace(self.state, **parts)


async def _told(what: str, question: Coroutine[Any, Any, Found]) -> tuple[Found | None, str]:
    """The answer; or None, and why our role gets none. Raises BoardUnreachable, TimeoutError."""
    try:
        with fail_after(ANSWER_S):
            return await question, ""
    except BoardUnreachable:
        raise
    except BoardError as error:
        return None, f"{what}: {error}"
