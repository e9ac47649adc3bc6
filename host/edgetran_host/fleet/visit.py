"""One board of a rollout, from whatever it serves to a final state.

What the board serves is asked before anything is sent, so nothing is deployed twice; that a
deployment begins is in the ledger before the board hears of it, so whoever goes on after a
kill takes back, or checks, what was begun. The board is leased meanwhile: no other host
changes it, and nobody else measures there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

from edgetran import AsyncBoard
from edgetran.connect import locate
from edgetran.lease import this_program
from edgetran.progress import Progress
from edgetran.results import Deployment
from edgetran_protos.errors import (
    BoardBusy,
    BoardUnreachable,
    EdgeTranError,
    LeaseLost,
    ModelDown,
    RolledBack,
)

from edgetran_host.fleet.check import check
from edgetran_host.fleet.fleet_file import FleetBoard
from edgetran_host.fleet.going_back import Returned, go_back, held
from edgetran_host.fleet.ledger import (
    CHECKING,
    DEPLOYED,
    DEPLOYING,
    KEPT,
    REFUSED,
    ROLLED_BACK,
    UNREACHABLE,
    BoardRow,
)
from edgetran_host.fleet.plan import KEEP
from edgetran_host.fleet.work import Work

PASSING = (BoardUnreachable, BoardBusy, LeaseLost, ModelDown)  # may be over in a while
MOST_TRIES = 30  # of a board that is back each time, and gone again
LEASE_S = 60.0
OUTLIVED_S = LEASE_S + 5.0  # a lease of a host that was killed is over by then
STEPS = ("asked", "sent", "deployed", "checked")


class Visit:
    def __init__(self, work: Work, entry: FleetBoard) -> None:
        self._work = work
        self._entry = entry
        self._answered = False  # in the try that is under way

    @property
    def _name(self) -> str:
        return self._entry.name

    async def run(self) -> None:
        """To a final state; where the wave was halted, to one that `take_back` can judge."""
        await self._patiently(self._bring)

    async def take_back(self, reason: str) -> None:
        """To what served before; a board that stays away owes it until it is back."""

        async def back() -> None:
            async with await self._connected() as board:
                await self._free(board)
                self._settle(await self._back(board, reason))

        await self._patiently(back, owing=reason)

    async def look_back(self) -> None:
        """Whether a board that was done still serves what it was given."""

        async def look() -> None:
            plan, digest = self._work.plan, self._work.bundle.digest
            async with await self._connected() as board:
                found = await board.deployments(history=True)
            now = held(found, plan.model)
            if now is None or now.bundle_digest != digest:
                ours = [e.reason for e in found if e.bundle_digest == digest and e.reason]
                told = ours[-1] if ours else "it does not serve the bundle any more"
                self._work.note(self._name, state=ROLLED_BACK, reason=f"afterwards: {told}")

        await self._patiently(look)

    async def _patiently(self, once: Callable[[], Awaitable[None]], owing: str = "") -> None:
        """Again after growing pauses while the board is away, or another works with it."""
        pace, pause_s, since_s = self._work.pace, self._work.pace.first_pause_s, time.monotonic()
        for tries in count(1):
            self._answered = False
            try:
                await asyncio.wait_for(once(), pace.limit_s)
                return
            except asyncio.TimeoutError:
                error: EdgeTranError = BoardUnreachable(f"not done after {pace.limit_s:.0f} s")
            except PASSING as exc:
                error = exc
            except EdgeTranError as exc:
                self._refused(exc, owing)
                return
            if self._leaves() and not owing:
                return
            patience_s = pace.patience_s
            if isinstance(error, BoardBusy):
                patience_s = max(patience_s, OUTLIVED_S)
            elif self._answered:
                pause_s, since_s = pace.first_pause_s, time.monotonic()
            if tries == MOST_TRIES or time.monotonic() - since_s + pause_s > patience_s:
                self._give_up(error, owing)
                return
            self._tell(0, f"again in {pause_s:.0f} s: {error}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, pace.longest_pause_s)

    def _leaves(self) -> bool:
        """What was begun in a halted wave is taken back, or kept and looked at to its end."""
        kept = self._work.plan.on_halt == KEEP and self._work.row(self._name).changed
        return self._work.halt.is_set() and not kept

    def _give_up(self, error: EdgeTranError, owing: str) -> None:
        row, reason = self._work.row(self._name), str(error)
        if owing:
            reason = f"{owing}; not taken back yet: {error}"
        elif row.state == DEPLOYED:
            reason = f"it was done, and does not answer now: {error}"
        elif row.changed:
            reason = f"it went away while it was changed: {error}"
        self._work.note(self._name, state=UNREACHABLE, reason=reason)
        self._tell(len(STEPS), f"{UNREACHABLE}: {reason}")

    def _refused(self, error: EdgeTranError, owing: str) -> None:
        """The board keeps what it has: it said no, or took the bundle back by itself."""
        reason = f"{type(error).__name__}: {error}"
        if owing:
            self._settle(Returned(KEPT, f"{owing}; not taken back: {reason}"))
        else:
            state = ROLLED_BACK if isinstance(error, RolledBack) else REFUSED
            self._settle(Returned(state, reason))

    async def _connected(self) -> AsyncBoard:
        return AsyncBoard(await asyncio.to_thread(locate, self._entry.address))

    async def _bring(self) -> None:
        work, card = self._work, self._work.bundle.card
        async with await self._connected() as board:
            now = held(await board.deployments(), work.plan.model)
            self._answered = True
            row = self._remembered(now)
            if work.halt.is_set():
                return
            wished = self._entry.wishes.of(card)
            info = await board.describe()
            place = f"{info.board}:{info.unit}"
            self._tell(1, place)
            await self._free(board)
            async with board.lease(LEASE_S, f"{work.mark}, {this_program()}"):
                serves = now is not None and now.bundle_digest == work.bundle.digest
                if now is None or not serves or (wished and wished.name != now.variant):
                    now = await self._deployed(board, wished.name if wished else None, place)
                    row = work.row(self._name)
                work.note(self._name, state=CHECKING, variant=now.variant, place=place)
                if self._leaves():
                    return
                self._tell(3, now.variant)
                await self._judge(board, row, place, now.variant)

    async def _deployed(self, board: AsyncBoard, variant: str | None, place: str) -> Deployment:
        work = self._work
        await board.upload(work.bundle, self._sent)
        work.note(self._name, state=DEPLOYING, changed=1, place=place)
        return await board.deploy(
            work.bundle,
            model=work.plan.model,
            variant=variant,
            allow_older=work.plan.allow_older,
            on_progress=self._stepped,
        )

    async def _judge(self, board: AsyncBoard, row: BoardRow, place: str, variant: str) -> None:
        found = await check(self._work, self._entry, board, place, variant)
        self._work.note(self._name, delivered=found.delivered.to_json())
        if not found.faults:
            told = ["" if row.changed else "it served this already", found.delivered.unsure]
            self._settle(Returned(DEPLOYED, "; ".join(filter(None, told))))
            return
        reason = "; ".join(found.faults)
        if self._work.plan.on_halt == KEEP or not row.changed:
            self._settle(Returned(KEPT, reason))
        else:
            self._settle(await self._back(board, reason))

    async def _back(self, board: AsyncBoard, reason: str) -> Returned:
        plan, row = self._work.plan, self._work.row(self._name)
        digest = self._work.bundle.digest
        try:
            return await go_back(board, plan.model, digest, row.before_digest, reason)
        except PASSING:
            raise
        except EdgeTranError as exc:  # it serves on: an older bundle may be forbidden there
            return Returned(KEPT, f"{reason}; not taken back: {type(exc).__name__}: {exc}")

    def _remembered(self, now: Deployment | None) -> BoardRow:
        """What served before this rollout is asked once: later it may be the rollout's own."""
        row = self._work.row(self._name)
        if not row.known:
            before = now.bundle_digest if now else ""
            self._work.note(self._name, known=1, before_digest=before)
        return self._work.row(self._name)

    async def _free(self, board: AsyncBoard) -> None:
        """Ends the lease of a host of this rollout that was killed: we have its ledger now."""
        state = await board.leased()
        if state.token and state.holder.startswith(self._work.mark):
            with suppress(LeaseLost):
                await board.release(state.token)

    def _settle(self, returned: Returned) -> None:
        self._work.note(self._name, state=returned.state, reason=returned.reason)
        self._tell(len(STEPS), f"{returned.state}: {returned.reason}".rstrip(": "))

    def _stepped(self, event: Progress) -> None:
        if event.detail:  # not of the upload, which is done
            self._tell(2 + event.done / event.total, event.detail)

    def _sent(self, event: Progress) -> None:
        share = event.done / event.total if event.total else 1.0
        self._tell(1 + share, f"sent {share:.0%}")

    def _tell(self, done: float, detail: str) -> None:
        self._work.tell(Progress(f" {self._name}", done, len(STEPS), detail))
