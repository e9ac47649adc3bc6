"""What a search found, as plain data: for result.json, for tables, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgetran_host.cosearch.blocking import Blocked, blocked
from edgetran_host.cosearch.brief import Brief
from edgetran_host.cosearch.finalists import Confirmed
from edgetran_host.cosearch.history import Entry, History
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair
from edgetran_host.cosearch.readable import summary
from edgetran_host.cosearch.search_config import SearchConfig
from edgetran_host.cosearch.standing import SEARCH, leading_front, outcome_of, sources_of, value_of


def search_result(
    history: History,
    path: Path,
    config: SearchConfig,
    stopped: str,
    confirmed: Sequence[Confirmed],
    elapsed_s: float,
) -> dict[str, Any]:
    brief = history.brief
    entries = [one for one in history.entries() if one.asked.role == SEARCH]
    kept = sorted((one for one in confirmed if one.kept), key=lambda one: -one.value)
    chosen = kept if brief.whole_front else kept[:1]
    block = blocked(brief, entries)
    return {
        "kind": "search",
        "run": str(path),
        "study": history.name,
        "request": dict(brief.request),
        "assumed": config.oracle is not None,
        "whole_front": brief.whole_front,
        "limits": asdict(brief.goal.limits),
        "stopped": stopped,
        "evaluations": len(entries),
        "failed": sum(bool(one.error) for one in entries),
        "trainings": sum(one.evaluation.training_cost for one in entries if one.evaluation),
        "elapsed_s": elapsed_s,
        "chosen": [_confirmed(brief, one) for one in chosen],
        "others": [_confirmed(brief, one) for one in confirmed if one not in chosen],
        "front": [_seen(brief, one) for one in leading_front(brief, entries)],
        "references": {place.id: asdict(one) for place, one in brief.goal.references.items()},
        "blocked": None if block is None else _blocked(brief, block),
    }


def _confirmed(brief: Brief, one: Confirmed) -> dict[str, Any]:
    return {
        **_pair(one.pair),
        "trial": one.first.number,
        "value": one.value,
        "outcome": asdict(one.outcome),
        "score_deviation": one.score_deviation,
        "evaluations": len(one.again),
        "sources": one.sources,
        "keeps_limits": one.kept,
        "first_seen": {
            "value": value_of(brief, one.first),
            "outcome": asdict(_first(one)),
            "sources": dict(sources_of(one.first)),
        },
    }


def _first(one: Confirmed) -> Outcome:
    return outcome_of(one.first)


def _seen(brief: Brief, entry: Entry) -> dict[str, Any]:
    found = asdict(outcome_of(entry))
    return {
        **_pair(entry.request.pair),
        "trial": entry.number,
        "value": value_of(brief, entry),
        "outcome": found,
        "sources": dict(sources_of(entry)),
    }


def _blocked(brief: Brief, block: Blocked) -> dict[str, Any]:
    found = {**_pair(block.nearest.request.pair), "trial": block.nearest.number}
    return {
        "trials": block.trials,
        "limits": [asdict(one) for one in block.blocks],
        "nearest": {**found, "outcome": asdict(outcome_of(block.nearest))},
        "needed": block.needed,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "place": pair.place.id,
        "summary": summary(pair),
        "architecture": pair.architecture.to_dict(),
        "id": pair.id,
    }
