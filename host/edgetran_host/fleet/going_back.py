"""Takes a board back to what served before the rollout, unless somebody else changed it since."""

from __future__ import annotations

from dataclasses import dataclass

from edgetran import AsyncBoard
from edgetran.results import Deployment

from edgetran_host.fleet.ledger import REFUSED, ROLLED_BACK

HOLDING = ("serving", "unloaded")  # states of what a name stands for now


@dataclass(frozen=True)
class Returned:
    state: str
    reason: str


def held(found: list[Deployment], model: str) -> Deployment | None:
    """What the board has under the name; None: nothing."""
    for entry in found:
        if entry.model == model and entry.state in HOLDING:
            return entry
    return None


async def go_back(board: AsyncBoard, model: str, digest: str, before: str, reason: str) -> Returned:
    """digest: what the rollout brought; before: what served then; empty: nothing did."""
    """Raises EdgeTranError when the board does not go back; it serves on then."""
    now = held(await board.deployments(), model)
    serves = now.bundle_digest if now else ""
    if serves == before:
        return Returned(ROLLED_BACK, reason)
    if serves != digest:
        other = f"{serves or 'nothing'} serves there now, which this rollout did not bring"
        return Returned(REFUSED, f"{reason}; not taken back: {other}")
    if not before:
        await board.remove(model)
        return Returned(ROLLED_BACK, f"{reason}; nothing served before")
    back = await board.rollback(model, reason)
    if back.bundle_digest != before:
        return Returned(ROLLED_BACK, f"{reason}; back to {back.bundle_digest}, not to {before}")
    return Returned(ROLLED_BACK, reason)
