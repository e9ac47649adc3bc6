"""Measured rows from the published JSON format, checked before anything is learnt of them.

A file is one list. A row holds `architecture` ({"l", "o", "h", "f"}) or `work` (counts of a
graph), `latency_s`, `energy_j` and `peak_power_w` (null where the board has no sensor), and
may hold `batch_size`, `runs`, `order` (place in the campaign), `board`, `verdict`, `modelled` and
`first_only` (the last layer was computed for the first token alone).
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetran_protos.bundle import Work, canonical_json
from edgetran_protos.errors import ArchitectureError, DataError

from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id
from edgetran_host.surrogates.terms import (
    ARCHITECTURE_TERMS,
    WORK_TERMS,
    architecture_terms,
    memory_bytes,
    work_terms,
)

MEASURES = ("latency_s", "energy_j", "peak_power_w")
REQUIRED = MEASURES
OPTIONAL = (
    *("architecture", "work", "batch_size", "runs", "order", "board"),
    *("verdict", "modelled"),  # of a campaign: said, not learnt from
    "first_only",
)
SAME_BOARD = 1.5  # files of one board may differ by this factor on designs that both hold
SHARED_DESIGNS = 3  # fewer tell nothing


@dataclass(frozen=True)
class Rows:
    """n designs and what was measured of them; arrays are row by row."""

    names: tuple[str, ...]  # of the terms
    terms: np.ndarray  # (n, terms)
    memory: np.ndarray  # (n,) bytes that the weights fill
    ids: tuple[str, ...]  # equal for equal designs
    measures: Mapping[str, np.ndarray]  # (n,) each; NaN: not measured
    campaigns: tuple[str, ...]  # the file a row came from
    orders: np.ndarray  # (n,) place in its campaign; NaN: not known
    setting: Mapping[str, Any]  # board, batch_size and runs, where all rows name one

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> Rows:
        """Those rows, by number or by mask."""
        chosen = np.arange(len(self))[index]
        return Rows(
            self.names,
            self.terms[chosen],
            self.memory[chosen],
            tuple(self.ids[at] for at in chosen),
            {name: values[chosen] for name, values in self.measures.items()},
            tuple(self.campaigns[at] for at in chosen),
            self.orders[chosen],
            self.setting,
        )


def read_rows(paths: Sequence[Path]) -> Rows:
    """All rows of files that belong to one board. Raises DataError."""
    found = [(path, _read(path)) for path in paths]
    rows = rows_of([(_campaign(path), raw) for path, raw in found])
    _refuse_two_boards(rows)
    return rows


def rows_of(files: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> Rows:
    """Rows already parsed, each list with the name of its campaign."""
    parsed: list[tuple[str, str, dict[str, float], Mapping[str, Any]]] = []
    for campaign, raw in files:
        for number, row in enumerate(raw):
            identity, terms = _row(row, f"{campaign}, row {number}")
            parsed.append((campaign, identity, terms, row))
    if not parsed:
        raise DataError("no rows", hint="a data file is a list of measured rows")
    names = tuple(parsed[0][2])
    for campaign, _, terms, _ in parsed:
        if tuple(terms) != names:
            raise DataError(
                f"{campaign} mixes rows with an architecture and rows with work counts",
                hint="fit one surrogate of each",
            )
    raws = [row for *_, row in parsed]
    return Rows(
        names=names,
        terms=np.array([list(terms.values()) for _, _, terms, _ in parsed], dtype=float),
        memory=np.array([memory_bytes(terms) for _, _, terms, _ in parsed]),
        ids=tuple(identity for _, identity, _, _ in parsed),
        measures={name: np.array([_number(row.get(name)) for row in raws]) for name in MEASURES},
        campaigns=tuple(campaign for campaign, *_ in parsed),
        orders=np.array([_number(row.get("order")) for row in raws]),
        setting=_setting(raws),
    )


def _read(path: Path) -> list[Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise DataError(f"{path} does not exist", hint="check the path") from exc
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise DataError(f"{path} is no JSON: {exc}", hint="a data file is a list of rows") from exc
    if not isinstance(raw, list) or not raw:
        raise DataError(f"{path} holds no list of rows", hint="a data file is a list of rows")
    return raw


def _campaign(path: Path) -> str:
    """Folder and name: the same file elsewhere is the same campaign."""
    return "/".join(path.resolve().parts[-2:])


def _row(row: Any, where: str) -> tuple[str, dict[str, float]]:
    """Its identity and terms. Raises DataError naming the row and what is wrong with it."""
    if not isinstance(row, dict):
        raise DataError(f"{where} is no object", hint="a row is {architecture, latency_s, ...}")
    for key in row:
        if key not in (*REQUIRED, *OPTIONAL):
            close = difflib.get_close_matches(key, (*REQUIRED, *OPTIONAL), n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            known = ", ".join((*REQUIRED, *OPTIONAL))
            raise DataError(f"{where} has an unknown key {key!r}", hint=f"{hint}known: {known}")
    for key in REQUIRED:
        if key not in row:
            raise DataError(f"{where} has no {key}", hint="write null where there is no sensor")
        _check_positive(row[key], f"{where}: {key}")
    if row["latency_s"] is None:
        raise DataError(f"{where}: latency_s is null", hint="leave out what was not measured")
    if row.get("order") is not None:
        _check_finite(row["order"], f"{where}: order")
    if ("architecture" in row) == ("work" in row):
        raise DataError(f"{where} needs an architecture, or the work counts of a graph")
    if "work" in row:
        return _work(row["work"], where)
    try:
        if not isinstance(row["architecture"], dict):
            raise ArchitectureError("architecture is no object")
        architecture = Architecture.from_dict(row["architecture"])
    except ArchitectureError as error:
        raise DataError(f"{where}: {error}", hint=error.hint) from error
    first_only = row.get("first_only", False)
    if not isinstance(first_only, bool):
        raise DataError(f"{where}: first_only is {first_only!r}, must be true or false")
    return architecture_id(architecture), architecture_terms(architecture, first_only=first_only)


def _work(raw: Any, where: str) -> tuple[str, dict[str, float]]:
    if not isinstance(raw, dict) or set(raw) != set(WORK_TERMS):
        raise DataError(f"{where}: work needs {', '.join(WORK_TERMS)}")
    for key, value in raw.items():
        _check_finite(value, f"{where}: work.{key}")
        if value < 0:
            raise DataError(f"{where}: work.{key} is negative")
    return canonical_json(raw).decode(), work_terms(Work(**raw))


def _check_positive(value: Any, where: str) -> None:
    if value is None:
        return
    _check_finite(value, where)
    if value <= 0:
        raise DataError(f"{where} is {value}, must be above 0", hint="leave such rows out")


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataError(f"{where} is {value!r}, must be a number", hint="leave such rows out")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _setting(raws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Raises DataError when rows name two boards, batch sizes or numbers of runs."""
    setting = {}
    for key in ("board", "batch_size", "runs"):
        named = {json.dumps(row[key]) for row in raws if row.get(key) is not None}
        if len(named) > 1:
            raise DataError(
                f"rows of two set-ups: {key} is {' and '.join(sorted(named)[:2])}",
                hint="fit one surrogate a board, unit and batch size",
            )
        if named:
            setting[key] = json.loads(named.pop())
    return setting


def _refuse_two_boards(rows: Rows) -> None:
    """Designs that two files share must have cost much the same in both."""
    latency = rows.measures["latency_s"]
    by_file: dict[str, dict[str, float]] = {}
    for campaign, identity, value in zip(rows.campaigns, rows.ids, latency):
        by_file.setdefault(campaign, {})[identity] = float(value)
    files = list(by_file)
    for at, one in enumerate(files):
        for two in files[at + 1 :]:
            shared = by_file[one].keys() & by_file[two].keys()
            if len(shared) < SHARED_DESIGNS:
                continue
            ratios = [math.log(by_file[one][key] / by_file[two][key]) for key in shared]
            if abs(float(np.median(ratios))) > math.log(SAME_BOARD):
                raise DataError(
                    f"{one} and {two} seem to be of two boards: designs that both hold differ"
                    f" {math.exp(abs(float(np.median(ratios)))):.1f} times in latency",
                    hint="fit one surrogate a board; recalibrate carries it to another set-up",
                )


assert not set(ARCHITECTURE_TERMS) & set(WORK_TERMS)
