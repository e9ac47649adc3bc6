"""Reads rows of named columns from TSV, CSV, JSONL and JSON files.

TSV is read as the GLUE files are written: a tab ends a field, a line ends a row,
and quotes are characters like any other. CSV follows RFC 4180. Blank lines hold no
row; every other line is a row or an error.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgetran_protos.errors import DataError

HEADLESS_COLUMNS = ("source", "label", "mark", "sentence")  # CoLA's
SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")
MAX_NAMED = 8  # columns listed in an error
MAX_NAME = 40  # characters of each


@dataclass(frozen=True)
class Table:
    """Cells as text, '' where a row has none. `lines` are line or item numbers, for errors.

    structured: columns that hold lists or objects, which are no text.
    classes: the labels that a source declares for a column, in its order.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    structured: frozenset[str] = frozenset()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Raises DataError when the file is missing, empty, not UTF-8 or malformed."""
    text, suffix = _text(path), path.suffix.lower()
    if suffix == ".tsv":
        return _with_header(path, list(_tsv_rows(text)))
    if suffix == ".csv":
        return _with_header(path, list(_csv_rows(path, text)))
    return _from_objects(path, _items(path, text) if suffix == ".json" else _lines(path, text))


def column_names(columns: Sequence[str]) -> str:
    """The columns for an error: on one line, and not the whole of a row taken for them."""
    shown = [" ".join(name.split()) for name in columns[:MAX_NAMED]]
    shown = [name if len(name) <= MAX_NAME else name[:MAX_NAME] + "..." for name in shown]
    return ", ".join(shown) + (", ..." if len(columns) > MAX_NAMED else "")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise DataError(f"{path} does not exist", hint="check the path given to --data") from exc
    except OSError as exc:
        raise DataError(
            f"{path} cannot be read: {exc.strerror}", hint="give a file that you may read"
        ) from exc
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise DataError(
            f"{path} is not UTF-8: line {line} holds byte 0x{data[exc.start]:02x}",
            hint="convert it, e.g. iconv -f latin1 -t utf-8",
        ) from exc
    if not text.strip():
        raise DataError(f"{path} is empty", hint="the first line names the columns, rows follow")
    return text


def _tsv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if bare := line.removesuffix("\r"):
            yield number, bare.split("\t")


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """A row's number is that of its last line: a quoted cell may run over several."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as exc:
        raise DataError(
            f"{path}, line {reader.line_num}: {exc}",
            hint="a quoted cell ends with a quote, and quotes inside it are doubled",
        ) from exc


def _with_header(path: Path, found: list[tuple[int, list[str]]]) -> Table:
    """The first line names the columns; a file of CoLA's form has none."""
    first = tuple(found[0][1])
    columns, body = tuple(cell.strip() for cell in first), found[1:]
    if headless(first):
        columns, body = HEADLESS_COLUMNS, found
    _check_columns(path, columns)
    if not body:
        raise DataError(f"{path} has a first line, but no rows", hint="add rows below the header")
    for line, row in body:
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(row)} fields, the first line has {len(columns)}",
                hint="each line needs every column; in a .csv, quote texts with commas",
            )
    return Table(path, columns, tuple(tuple(row) for _, row in body), tuple(i for i, _ in body))


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    if len(columns) == 1:
        raise DataError(
            f"{path} has one column: {column_names(columns)}",
            hint="fields are separated by commas in a .csv, by tabs in a .tsv",
        )
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise DataError(
            f"{path} names the column {twice[0]} twice", hint="rename or remove one of them"
        )


def headless(first: tuple[str, ...]) -> bool:
    """CoLA's files start with data: source, 0 or 1, a mark, the sentence."""
    return len(first) == 4 and first[1] in ("0", "1") and first[2] in ("", "*")


def _items(path: Path, text: str) -> list[tuple[int, object]]:
    """The items of a JSON list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise DataError(
            f"{path} is not JSON: {exc}", hint="name a file with one object a line .jsonl"
        ) from exc
    if not isinstance(found, list):
        raise DataError(
            f"{path} holds no list, but one {type(found).__name__}",
            hint='write [{"text": ..., "label": ...}, ...]',
        )
    return list(enumerate(found, 1))


def _lines(path: Path, text: str) -> list[tuple[int, object]]:
    """The values of a file with one JSON text a line."""
    found: list[tuple[int, object]] = []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() also cuts inside strings
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except (ValueError, RecursionError) as exc:
                raise DataError(
                    f"{path}, line {number} is not JSON: {_in_one_line(exc)}",
                    hint="write one object a line",
                ) from exc
    return found


def _in_one_line(error: Exception) -> str:
    """What a parser of one line says, without the number that it gives to that line."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def _from_objects(path: Path, objects: list[tuple[int, object]]) -> Table:
    if not objects:
        raise DataError(f"{path} holds no rows", hint="add objects with a text and a label")
    dicts: list[dict[str, object]] = []
    for number, item in objects:
        if not isinstance(item, dict):
            raise DataError(
                f"{path}, row {number} is no object, but {type(item).__name__}",
                hint='a row is {"text": ..., "label": ...}',
            )
        dicts.append(item)
    columns = tuple(dict.fromkeys(key for item in dicts for key in item))
    rows = tuple(tuple(cell(item.get(name)) for name in columns) for item in dicts)
    structured = {key for item in dicts for key, value in item.items() if is_structured(value)}
    return Table(path, columns, rows, tuple(n for n, _ in objects), frozenset(structured))


def cell(value: object) -> str:
    return "" if value is None else str(value)


def is_structured(value: object) -> bool:
    """Whether a value is a list or an object."""
    return isinstance(value, (dict, list, tuple))
