"""The new model after the switch, until it has proven itself or has to go."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Optional

from edgetran_daemon.deployment.conduct import Conduct
from edgetran_daemon.deployment.promise import broken, too_many
from edgetran_daemon.deployment.rules import WatchRule
from edgetran_daemon.serving.served_model import ServedModel

LOOK_S = 0.1


@dataclass(frozen=True)
class Verdict:
    well: bool
    reason: str


async def watched(model: ServedModel, rule: WatchRule, p99_s: Optional[float]) -> Verdict:
    conduct = model.conduct
    deadline_s = time.monotonic() + rule.seconds
    while True:
        reason = fault(conduct, p99_s)
        if reason:
            return Verdict(False, reason)
        if conduct.answered >= rule.requests or time.monotonic() >= deadline_s:
            return Verdict(True, f"{conduct.answered} requests answered, {conduct.failed} failed")
        await asyncio.sleep(min(LOOK_S, max(0.0, deadline_s - time.monotonic())))


def fault(conduct: Conduct, p99_s: Optional[float]) -> str:
    """What speaks against a model; empty when nothing does."""
    if conduct.deaths:
        return "its worker died"
    if too_many(conduct.failed, conduct.answered + conduct.failed):
        return f"{conduct.failed} of {conduct.answered + conduct.failed} requests failed"
    return broken(tuple(conduct.single_row_s), p99_s)
