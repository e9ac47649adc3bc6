"""The new model beside the old one, before anybody depends on it.

Both answer their golden rows one at a time, in turn, so that what else the board does hits
both alike; the new one also answers texts that the old one was asked lately. It must fail
none, and keep its card's promise unless the old one breaks its own at the same time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Optional

from edgetran_protos.errors import CanaryFailed, EdgeTranError

from edgetran_daemon.deployment.promise import broken
from edgetran_daemon.runtimes.base import Tensor
from edgetran_daemon.serving.served_model import ServedModel, golden_inputs

RUNS = 50  # of each model
LIMIT_S = 3.0  # a slow model gets fewer
HINT = "the old model serves on; measure the new one on this board, and pack it again"


@dataclass(frozen=True)
class Contender:
    """One of the two, with what its card promises here and the times it took."""

    model: ServedModel
    p99_s: Optional[float]  # None: no promise that can be checked
    times_s: list[float] = field(default_factory=list)

    async def run(self, number: int) -> None:
        rows = golden_inputs(self.model.card)
        place = number % len(self.model.card.golden.texts)
        row: dict[str, Tensor] = {name: rows[name][place : place + 1] for name in rows}
        self.times_s.append((await self.model.try_out(self.model.own_inputs(row))).run_s)

    @property
    def broken(self) -> str:
        return broken(self.times_s, self.p99_s)


@dataclass(frozen=True)
class Passed:
    detail: str
    p99_s: Optional[float]  # what the watch after the switch is to hold the model to


async def canary(new: Contender, old: Optional[Contender]) -> Passed:
    """Raises CanaryFailed."""
    try:
        replayed = await _replay(new.model, old)
        await _in_turn(new, old)
    except EdgeTranError as exc:
        raise CanaryFailed(f"the new model failed beside the old one: {exc}", hint=HINT) from exc
    detail = f"{len(new.times_s)} golden rows and {replayed} recent texts answered"
    if new.p99_s is None:
        return Passed(f"{detail}; no time measured on such a board is promised", None)
    if not new.broken:
        return Passed(f"{detail} as fast as promised", new.p99_s)
    if old is None:
        return Passed(f"{detail}; {new.broken}; nothing else could serve", None)
    if old.broken:
        return Passed(f"{detail}; the board is busy, the old model is late too", None)
    raise CanaryFailed(new.broken, hint=HINT)


async def _in_turn(new: Contender, old: Optional[Contender]) -> None:
    started_s = time.monotonic()
    for number in range(RUNS):
        await new.run(number)
        if old is not None:
            await _tolerant(old, number)
        if time.monotonic() - started_s > LIMIT_S:
            return


async def _tolerant(old: Contender, number: int) -> None:
    """The old model's failures say nothing against the new one."""
    try:
        await old.run(number)
    except EdgeTranError:
        old.times_s.append(float("inf"))


async def _replay(new: ServedModel, old: Optional[Contender]) -> int:
    texts = list(old.model.recent) if old is not None else []
    for text in texts:
        await new.predict([text])
    return len(texts)
