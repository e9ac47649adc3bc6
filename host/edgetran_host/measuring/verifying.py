"""Derives a record's figures and verdict again, and says where they differ.

A measured record is judged again from its raw samples, by the code that the board used. A
modelled one is computed again from the board's model in the catalogue and the graph's work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgetran_devices import UnknownBoard, figures, load_board
from edgetran_protos.bundle import Work
from edgetran_protos.errors import DataError
from edgetran_protos.measuring.document import DocumentError, digest_of, judge_again
from edgetran_protos.measuring.reasons import MODELLED

from edgetran_host.measuring.record_directory import Record

CLOSE = 1e-9  # relative: the same numbers, added up by another machine


@dataclass(frozen=True)
class Difference:
    what: str
    kept: object
    derived: object


@dataclass(frozen=True)
class Verified:
    figures: int  # that were compared
    samples: int  # raw pieces
    differences: tuple[Difference, ...]

    @property
    def sound(self) -> bool:
        return not self.differences


def verify(record: Record) -> Verified:
    """Raises DataError when there is nothing to derive from."""
    document = record.document
    derived = _modelled(document) if document["modelled"] else _measured(record)
    found = list(_differences("figures", document["figures"] or {}, derived["figures"]))
    for name in ("verdict", "reasons"):
        found += _differences(name, document[name], derived[name])
    seal = digest_of(document)
    found += _differences("digest", document.get("digest"), seal)
    return Verified(_count(derived["figures"]), len(record.pieces), tuple(found))


def _measured(record: Record) -> dict[str, Any]:
    try:
        found = judge_again(record.document, record.pieces)
    except DocumentError as exc:
        raise DataError(
            f"{record.path}: {exc}", hint="do not trust its figures; measure again"
        ) from exc
    return {
        "figures": asdict(found.figures),
        "verdict": found.verdict,
        "reasons": list(found.reasons),
    }


def _modelled(document: Mapping[str, Any]) -> dict[str, Any]:
    facts = document["facts"]
    try:
        unit = load_board(facts["board"]).units[facts["unit"]]
        found = figures(unit, Work(**facts["work"]), facts)
    except (UnknownBoard, KeyError, TypeError, ValueError) as exc:
        raise DataError(
            f"the catalogue here has no model for this record: {exc}", hint="upgrade edgetran"
        ) from exc
    return {
        "figures": {
            name: value and dict(zip(("value", "low", "high"), value))
            for name, value in found.items()
        },
        "verdict": MODELLED,
        "reasons": [name for name in document["reasons"] if name.endswith(_OWN)],
    }


_OWN = ("is_emulated", "of_the_emulating_machine")


def _differences(what: str, kept: Any, derived: Any) -> Iterator[Difference]:
    if isinstance(derived, Mapping):
        other = kept if isinstance(kept, Mapping) else {}
        for name in sorted({*derived, *other}):
            yield from _differences(f"{what}.{name}", other.get(name), derived.get(name))
    elif not _same(kept, derived):
        yield Difference(what, kept, derived)


def _same(kept: Any, derived: Any) -> bool:
    if isinstance(kept, float) and isinstance(derived, float):
        return math.isclose(kept, derived, rel_tol=CLOSE)
    return type(kept) is type(derived) and bool(kept == derived)


def _count(figures: Mapping[str, Any]) -> int:
    return sum(
        _count(one) if isinstance(one, Mapping) else one is not None for one in figures.values()
    )
