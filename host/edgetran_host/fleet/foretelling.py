"""What a rollout would do, board by board; nothing is sent and nothing written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from edgetran import AsyncBoard
from edgetran.connect import locate
from edgetran.progress import OnProgress, Progress
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import EdgeTranError

from edgetran_host.fleet.delivered import promise, shown
from edgetran_host.fleet.fleet_file import Fleet, FleetBoard
from edgetran_host.fleet.going_back import held
from edgetran_host.fleet.plan import Pace, Plan
from edgetran_host.fleet.waves import waves

LIMITS = {"max_p99": "latency_p99_s", "max_energy": "energy_j", "max_power": "peak_power_w"}


@dataclass(frozen=True)
class Forecast:
    name: str
    wave: int
    place: str  # empty: it did not answer
    serves: str  # the digest under the name; empty: nothing
    variant: str  # that it would serve; empty: it chooses itself
    send_bytes: int
    note: str  # what would keep it from the bundle, or that it serves it already


def foretell(fleet: Fleet, plan: Plan, pace: Pace, on_progress: OnProgress) -> list[Forecast]:
    """In the order of the waves."""
    bundle = Bundle.open(Path(plan.bundle))
    order = waves(plan.waves, fleet.boards)
    return asyncio.run(_all(fleet, plan, bundle, order, pace, on_progress))


async def _all(
    fleet: Fleet,
    plan: Plan,
    bundle: Bundle,
    order: list[list[str]],
    pace: Pace,
    on_progress: OnProgress,
) -> list[Forecast]:
    places = asyncio.Semaphore(pace.at_once)
    boards = {board.name: board for board in fleet.boards}
    done = 0

    async def one(name: str, wave: int) -> Forecast:
        nonlocal done
        async with places:
            found = await _one(boards[name], wave, plan, bundle)
        done += 1
        on_progress(Progress("asking", done, len(boards), name))
        return found

    asked = [one(name, wave) for wave, names in enumerate(order, 1) for name in names]
    return list(await asyncio.gather(*asked))


async def _one(entry: FleetBoard, wave: int, plan: Plan, bundle: Bundle) -> Forecast:
    try:
        wished = entry.wishes.of(bundle.card)
        async with AsyncBoard(await asyncio.to_thread(locate, entry.address)) as board:
            info = await board.describe()
            now = held(await board.deployments(), plan.model)
            send_bytes = await board.missing_bytes(bundle)
    except EdgeTranError as exc:
        return Forecast(entry.name, wave, "", "", "", 0, f"{type(exc).__name__}: {exc}")
    place = f"{info.board}:{info.unit}"
    serves = now.bundle_digest if now else ""
    variant = wished.name if wished else ""
    notes = ["serves it already"] if serves == bundle.digest else []
    notes += _limits(entry, bundle, place, variant)
    return Forecast(entry.name, wave, place, serves, variant, send_bytes, "; ".join(notes))


def _limits(entry: FleetBoard, bundle: Bundle, place: str, variant: str) -> list[str]:
    """Where the bundle's own promise is beyond what the board may take."""
    beyond = []
    names = [variant] if variant else [one.name for one in bundle.card.variants]
    for word, figure in LIMITS.items():
        limit = getattr(entry.wishes, word)
        claims = [promise(bundle.card, figure, place, name) for name in names]
        values = [claim.value for claim in claims if claim]
        if limit is not None and values and min(values) > limit:
            beyond.append(f"promises {shown(figure, min(values))}, its limit is {limit:g}")
    return beyond
