"""Reads rows of named columns from TSV, CSV, JSONL and JSON files.

TSV is read as the GLUE files are written: a tab ends a field, a line ends a row,
and quotes are characters like any other. CSV follows RFC 4180.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgetran_protos.errors import DataError

HEADLESS_COLUMNS = ("source", "label", "mark", "sentence")  # CoLA's
SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")


@dataclass(frozen=True)
class Table:
    """Cells as text. `lines` are the line (or item) numbers, for errors."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]


def read_table(path: Path) -> Table:
    """Raises DataError when the file is missing, empty, not UTF-8 or malformed."""
    text = _text(path)
    if path.suffix == ".tsv":
        found = [(i, line.split("\t")) for i, line in enumerate(text.split("\n"), 1) if line]
        return _with_header(path, [(i, [cell.rstrip("\r") for cell in row]) for i, row in found])
    if path.suffix == ".csv":
        return _with_header(path, list(_csv_rows(path, text)))
    return _from_objects(path, _objects(path, text))


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise DataError(f"{path} does not exist", hint="check the path given to --data") from exc
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise DataError(
            f"{path} is not UTF-8: line {line} holds byte 0x{data[exc.start]:02x}",
            hint="convert it, e.g. iconv -f latin1 -t utf-8",
        ) from exc
    if not text.strip():
        raise DataError(f"{path} is empty")
    return text


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as exc:
        raise DataError(f"{path}, line {reader.line_num}: {exc}", hint="is it a CSV file?") from exc


def _with_header(path: Path, found: list[tuple[int, list[str]]]) -> Table:
    """The first line names the columns; a file of CoLA's form has none."""
    first = tuple(found[0][1])
    columns, body = tuple(cell.strip() for cell in first), found[1:]
    if headless(first):
        columns, body = HEADLESS_COLUMNS, found
    for line, row in body:
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(row)} fields, the first line has {len(columns)}",
                hint="each line needs every column; tabs inside a text must go",
            )
    return Table(path, columns, tuple(tuple(row) for _, row in body), tuple(i for i, _ in body))


def headless(first: tuple[str, ...]) -> bool:
    """CoLA's files start with data: source, 0 or 1, a mark, the sentence."""
    return len(first) == 4 and first[1] in ("0", "1") and first[2] in ("", "*")


def _objects(path: Path, text: str) -> list[tuple[int, object]]:
    try:
        if path.suffix == ".json":
            found = json.loads(text)
            if not isinstance(found, list):
                raise DataError(f"{path} must hold a list of objects")
            return list(enumerate(found, 1))
    except ValueError as exc:
        raise DataError(f"{path} is not JSON: {exc}") from exc
    objects: list[tuple[int, object]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                objects.append((number, json.loads(line)))
            except ValueError as exc:
                raise DataError(f"{path}, line {number} is not JSON: {exc}") from exc
    return objects


def _from_objects(path: Path, objects: list[tuple[int, object]]) -> Table:
    if not objects:
        raise DataError(f"{path} holds no rows")
    for number, item in objects:
        if not isinstance(item, dict):
            raise DataError(f"{path}, row {number} is no object, but {type(item).__name__}")
    dicts = [(number, item) for number, item in objects if isinstance(item, dict)]
    columns = tuple(str(key) for key in dicts[0][1])
    for number, item in dicts:
        missing = [name for name in columns if item.get(name) is None]
        if missing:
            raise DataError(f"{path}, row {number} lacks {', '.join(missing)}")
    rows = tuple(tuple(str(item[name]) for name in columns) for _, item in dicts)
    return Table(path, columns, rows, tuple(number for number, _ in dicts))
