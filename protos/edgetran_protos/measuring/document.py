"""A measurement as a JSON document: what was measured, under what, the figures, the verdict.

    schema      which form this is
    modelled    true: from the board's model; nothing was measured on a board
    facts       of the subject and the board, as they were
    conditions, sensor, asked    what judging needs beside the samples
    samples     [{digest, size_bytes}], the pieces in order; none when modelled
    figures     each number, or {value, low, high}; null: not known
    verdict, reasons
    digest      SHA-256 of all the above as canonical JSON

Figures, verdict and reasons follow from the rest: `judge_again` derives them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Optional

from edgetran_protos.bundle import canonical_json
from edgetran_protos.measuring.judging import Asked, Judgement, judge
from edgetran_protos.measuring.machine import Conditions
from edgetran_protos.measuring.power import Sensor
from edgetran_protos.measuring.series import SeriesError, decode, digest, join

SCHEMA = "edgetran.measurement/1"
Json = dict[str, Any]


class DocumentError(ValueError):
    """Not a record of ours, or one that does not hold together."""


def begun(
    facts: Mapping[str, Any], conditions: Conditions, sensor: Optional[Sensor], asked: Asked
) -> Json:
    """Before there are samples."""
    return {
        "schema": SCHEMA,
        "modelled": False,
        "facts": dict(facts),
        "conditions": asdict(conditions),
        "sensor": asdict(sensor) if sensor else None,
        "asked": asdict(asked),
        "samples": [],
        "figures": None,
        "verdict": "",
        "reasons": [],
    }


def finished(start: Json, pieces: Iterable[tuple[str, int]], judgement: Judgement) -> Json:
    """pieces: (digest, size in bytes)."""
    samples = [{"digest": name, "size_bytes": size} for name, size in pieces]
    return sealed(
        {
            **start,
            "samples": samples,
            "figures": asdict(judgement.figures),
            "verdict": judgement.verdict,
            "reasons": list(judgement.reasons),
        }
    )


def sealed(document: Json) -> Json:
    return {**document, "digest": digest_of(document)}


def digest_of(document: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in document.items() if name != "digest"}
    return "sha256:" + hashlib.sha256(canonical_json(rest)).hexdigest()


def judge_again(document: Mapping[str, Any], pieces: Sequence[bytes]) -> Judgement:
    """Raises DocumentError when the pieces are not those that the document names, or unfit."""
    check(document)
    if document["modelled"]:
        raise DocumentError("its figures are modelled: there are no samples to judge")
    wanted = [entry["digest"] for entry in document["samples"]]
    found = [digest(piece) for piece in pieces]
    if wanted != found:
        wrong = [name for name, other in zip(wanted, found) if name != other]
        raise DocumentError(f"{len(wrong) or 'some'} of its pieces are missing or were changed")
    sensor, conditions = document["sensor"], document["conditions"]
    try:
        return judge(
            join(decode(piece) for piece in pieces),
            _made(Conditions, conditions),
            _made(Sensor, sensor) if sensor is not None else None,
            _made(Asked, document["asked"]),
        )
    except (SeriesError, TypeError, ValueError, IndexError) as exc:
        raise DocumentError(f"its samples cannot be judged: {exc}") from exc


def check(document: object) -> None:
    """Raises DocumentError."""
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise DocumentError(f"this is no record of the form {SCHEMA}")
    kinds: dict[str, type[Any]] = {
        "facts": Mapping,
        "asked": Mapping,
        "conditions": Mapping,
        "samples": list,
    }
    kinds.update({"reasons": list, "verdict": str, "modelled": bool})
    for name, kind in kinds.items():
        if not isinstance(document.get(name), kind):
            raise DocumentError(f"the record's {name!r} is missing or of a wrong kind")


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Unknown keys are refused: they would have meant something."""
    known = {field.name for field in fields(kind)}
    if not isinstance(values, Mapping) or set(values) - known:
        raise DocumentError(f"{kind.__name__} has no {sorted(set(values) - known)}")
    return kind(**values)
