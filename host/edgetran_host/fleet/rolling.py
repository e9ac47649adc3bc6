"""A rollout, wave by wave: judged after every board, halted and taken back where it must be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from edgetran.progress import Progress

from edgetran_host.fleet.ledger import (
    CHECKING,
    DEPLOYED,
    DEPLOYING,
    DONE,
    HALTED,
    HALTING,
    KEPT,
    OPEN,
    REFUSED,
    ROLLED_BACK,
    RUNNING,
    TAKEN_BACK,
    UNREACHABLE,
    WAITING,
    BoardRow,
)
from edgetran_host.fleet.plan import KEEP, ROLLBACK_ALL
from edgetran_host.fleet.visit import Visit
from edgetran_host.fleet.work import Work

FAILED = (ROLLED_BACK, REFUSED, KEPT)
MAY_SERVE = (DEPLOYING, CHECKING, DEPLOYED, UNREACHABLE, KEPT)  # the new bundle, if changed


def failed(row: BoardRow) -> bool:
    """A board that never answered says nothing against a bundle; one that was changed does."""
    return row.state in FAILED or (row.state == UNREACHABLE and row.changed)


class Rolling:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._places = asyncio.Semaphore(work.pace.at_once)

    async def run(self) -> None:
        """On from where the ledger says the rollout is, to its end or its halt."""
        status, reason = self._work.rollout.status, self._work.rollout.reason
        if status in (HALTING, HALTED):
            await self._halt(self._halted_wave(), reason)
            return
        if status == TAKEN_BACK:
            await self.take_back(reason)
            return
        self._settle(RUNNING)
        for wave in sorted({row.wave for row in self._work.rows()}):
            await self._wave(wave)
            reason = self._fault(wave)
            if reason:
                await self._halt(wave, reason)
                return
        self._settle(DONE)

    async def take_back(self, reason: str) -> None:
        """All that the rollout changed."""
        await self._back(self._work.rows(), "taking back", reason)
        self._settle(TAKEN_BACK, reason)

    async def _wave(self, wave: int) -> None:
        rows = [row for row in self._rows(wave) if row.state in (*OPEN, UNREACHABLE)]
        if not rows:
            return

        async def visit(row: BoardRow) -> None:
            if self._work.halt.is_set():
                return
            await Visit(self._work, self._work.boards[row.name]).run()
            if self._fault(wave, early=True):
                self._work.halt.set()

        count = len({row.wave for row in self._work.rows()})
        await self._all(rows, visit, f"wave {wave + 1} of {count}", wave)
        if self._work.plan.soak_s and not self._fault(wave):
            await self._soak(wave)

    async def _soak(self, wave: int) -> None:
        soak_s = self._work.plan.soak_s
        for second in range(int(soak_s)):
            self._work.tell(Progress("soak", second, soak_s, "then all are asked again"))
            await asyncio.sleep(1.0)
        await asyncio.sleep(soak_s % 1.0)
        self._work.tell(Progress("soak", soak_s, soak_s))
        await self.look_back([row for row in self._rows(wave) if row.state == DEPLOYED])

    async def look_back(self, rows: Sequence[BoardRow]) -> None:
        """Asks boards that were done what they serve."""

        async def look(row: BoardRow) -> None:
            await Visit(self._work, self._work.boards[row.name]).look_back()

        await self._all(rows, look, "looking back")

    async def _halt(self, wave: int, reason: str) -> None:
        self._work.halt.set()
        self._settle(HALTING, reason)
        rows = self._work.rows()
        if self._work.plan.on_halt != KEEP:
            everywhere = self._work.plan.on_halt == ROLLBACK_ALL
            await self._back(
                [row for row in rows if everywhere or row.wave == wave], "taking back", reason
            )
        for row in self._work.rows():
            if row.state == CHECKING and not row.changed:  # it served the bundle before
                self._work.note(row.name, state=WAITING)
        self._settle(HALTED, reason)

    async def _back(self, rows: Sequence[BoardRow], stage: str, reason: str) -> None:
        owed = [row for row in rows if row.changed and row.state in MAY_SERVE and self._has(row)]

        async def back(row: BoardRow) -> None:
            await Visit(self._work, self._work.boards[row.name]).take_back(reason)

        await self._all(owed, back, stage)

    async def _all(
        self,
        rows: Sequence[BoardRow],
        visit: Callable[[BoardRow], Awaitable[None]],
        stage: str,
        wave: int | None = None,
    ) -> None:
        """So many at once as the pace says. Leaving early cancels what is under way."""
        done = 0
        under_way: set[str] = set()

        def tell() -> None:
            told = self._told(wave) if wave is not None else []
            detail = ", ".join([*told, f"{len(under_way)} under way"])
            self._work.tell(Progress(stage, done, len(rows), detail))

        async def one(row: BoardRow) -> None:
            nonlocal done
            async with self._places:
                under_way.add(row.name)
                tell()
                try:
                    await visit(row)
                finally:
                    under_way.discard(row.name)
                done += 1
                tell()

        tasks = [asyncio.ensure_future(one(row)) for row in rows]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _told(self, wave: int) -> list[str]:
        """How a wave stands, for a person; tells how the whole rollout does, too."""
        rows = self._work.rows()
        final = sum(row.final for row in rows)
        self._work.tell(Progress("rollout", final, len(rows), f"to {self._work.fleet}"))
        counts = Counter(row.state for row in self._rows(wave))
        return [f"{n} {state}" for state, n in counts.items() if state not in OPEN]

    def _fault(self, wave: int, *, early: bool = False) -> str:
        """Why the wave must halt; empty: it may go on. early: it is still under way."""
        rows = [row for row in self._rows(wave) if row.state != WAITING or not early]
        bad = [row for row in rows if failed(row)]
        count = len(self._rows(wave))
        allowed = self._work.plan.budget(count)
        if len(bad) > allowed:
            first = f"{bad[0].name}: {bad[0].reason}"
            return f"wave {wave + 1}: {len(bad)} of {count} boards failed, {allowed} may; {first}"
        away = [row for row in rows if row.state == UNREACHABLE]
        for one in self._work.conditions:
            share = len(bad if one.figure == "failed" else away) / count
            growing = one.comparison.startswith(">")
            if one.of_wave and (growing or not early) and one.met(share):
                return f"wave {wave + 1}: {one.text}: {share:.1%}"
        follows = any(row.wave > wave for row in self._work.rows())
        if follows and not early and rows and len(away) == len(rows):
            return f"wave {wave + 1}: none of its {len(rows)} boards answers"
        return ""

    def _halted_wave(self) -> int:
        """The last that was begun."""
        begun = [row.wave for row in self._work.rows() if row.state != WAITING]
        return max(begun, default=0)

    def _rows(self, wave: int) -> list[BoardRow]:
        return [row for row in self._work.rows() if row.wave == wave and self._has(row)]

    def _has(self, row: BoardRow) -> bool:
        """A board that was taken out of fleet.toml is left alone."""
        return row.name in self._work.boards

    def _settle(self, status: str, reason: str = "") -> None:
        self._work.ledger.settle(self._work.rollout.id, status, reason)
