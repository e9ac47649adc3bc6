"""What a search was asked for, in a sentence: the heading of its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.figures import TITLES, figure
from edgetran_host.cosearch.goal import COSTS


def heading(brief: Brief) -> str:
    """ "The best transformer for SST-2 on nano and rpi4, latency at most 40 ms"."""
    wanted = "All trade-offs of transformers" if brief.whole_front else "The best transformer"
    limits = ((name, getattr(brief.goal.limits, name)) for name in COSTS)
    told = [f"{TITLES[name]} at most {figure(name, limit)}" for name, limit in limits if limit]
    within = f", {_listed(told)}" if told else ""
    return f"{wanted} for {_task(brief)} on {_listed(_boards(brief))}{within}"


def _task(brief: Brief) -> str:
    oracle = brief.request.get("oracle")
    if oracle:
        return f"the assumed truth {Path(oracle['name']).stem}"
    return Path(str(brief.request["data"])).name


def _boards(brief: Brief) -> list[str]:
    """As they were named, or all that the search knows."""
    known = dict.fromkeys(place.board for place in brief.product.places)
    return list(brief.request.get("targets") or known)


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
