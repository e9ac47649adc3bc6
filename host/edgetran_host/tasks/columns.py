"""Which column of a table is the text, its pair and the label, by the names people use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgetran_protos.errors import DataError

from edgetran_host.tasks.tables import Table, column_names
from edgetran_host.tasks.task import Row

PAIRS = (  # both present: a task on pairs
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
    ("#1 String", "#2 String"),
    ("text", "text_pair"),
    ("text1", "text2"),
)
SINGLES = ("sentence", "text", "utterance", "review", "content", "query")
LABELS = ("label", "score", "gold_label", "Quality", "is_duplicate", "intent", "category", "target")
MAX_DISTINCT = 64  # whole numbers with more distinct values are quantities, not classes,
ROWS_A_CLASS = 10  # unless they count 0, 1, 2, ... without a gap and come this often each
MAX_RARE = 10  # labels that may have fewer than two rows each before the column looks wrong


@dataclass(frozen=True)
class Layout:
    text: str
    pair: str | None
    label: str
    numeric: bool  # labels are quantities: regression

    @property
    def names(self) -> tuple[str, ...]:
        return (self.text, *([self.pair] if self.pair else []), self.label)


def layout_of(table: Table, like: Layout | None = None) -> Layout:
    """The table's columns; `like` is the train split's layout, which dev must share."""
    if like is not None:
        missing = [name for name in like.names if name not in table.columns]
        if missing:
            raise DataError(
                f"{table.path} lacks the column {', '.join(missing)} that train has",
                hint=f"its columns are {column_names(table.columns)}",
            )
        _check_text(table, like)
        return like
    label = next((name for name in LABELS if name in table.columns), None)
    pair = next((both for both in PAIRS if set(both) <= set(table.columns)), None)
    texts = pair or next(((name, None) for name in SINGLES if name in table.columns), None)
    if label is None or texts is None:
        lacking, names = ("label", LABELS) if label is None else ("text", SINGLES)
        raise DataError(
            f"{table.path} has no {lacking} column; its columns are {column_names(table.columns)}",
            hint=f"name one {' or '.join(names[:3])}",
        )
    layout = Layout(texts[0], texts[1], label, _quantities(table, label))
    _check_text(table, layout)
    _check_labels(table, layout)
    return layout


def rows_of(table: Table, layout: Layout) -> tuple[Row, ...]:
    at = {name: table.columns.index(name) for name in layout.names}
    rows = []
    for line, cells in zip(table.lines, table.rows):
        found = {name: cells[at[name]].strip() for name in layout.names}
        empty = [name for name, cell in found.items() if not cell]
        if empty:
            raise DataError(
                f"{table.path}, line {line}: {empty[0]} is empty", hint="fill it or remove the row"
            )
        for name, cell in found.items():
            _check_whole(table, line, name, cell)
        label = found[layout.label]
        rows.append(
            Row(
                found[layout.text],
                found[layout.pair] if layout.pair else None,
                _number(table, line, label) if layout.numeric else label,
            )
        )
    return tuple(rows)


def _check_text(table: Table, layout: Layout) -> None:
    for name in layout.names:
        if name in table.structured:
            raise DataError(
                f"{table.path}: {name} holds lists or objects, not text",
                hint="give each row one text (or two) and one label",
            )


def _check_whole(table: Table, line: int, name: str, cell: str) -> None:
    """JSON can name one half of a character outside the first 65,536; no tokenizer reads it."""
    try:
        cell.encode()
    except UnicodeEncodeError as exc:
        raise DataError(
            f"{table.path}, line {line}: {name} holds half a character, {cell[exc.start]!r}",
            hint="correct or remove the row; a text that was cut inside an emoji has one",
        ) from exc


def _check_labels(table: Table, layout: Layout) -> None:
    """Raises DataError when the labels are rather names, texts or row numbers."""
    labels = _cells(table, layout.label)
    distinct = set(labels)
    rare = len(distinct) > MAX_RARE and len(distinct) * 2 > len(labels)
    if _count_up(labels) if layout.numeric else rare:
        raise DataError(
            f"{table.path}: {layout.label} has {len(distinct)} different labels "
            f"in {len(labels)} rows",
            hint=f"is it the right column? There are {column_names(table.columns)}; "
            f"the first found of {', '.join(LABELS)} is the label",
        )


def _cells(table: Table, name: str) -> list[str]:
    at = table.columns.index(name)
    return [cell for row in table.rows if (cell := row[at].strip())]


def _count_up(labels: Sequence[str]) -> bool:
    """Whether every row has the next whole number: an index, not a quantity."""
    numbers = {number for label in labels if (number := _read(label)) is not None}
    return (
        len(labels) == len(numbers) > MAX_DISTINCT
        and all(number.is_integer() for number in numbers)
        and max(numbers) - min(numbers) == len(numbers) - 1
    )


def _quantities(table: Table, label: str) -> bool:
    """Numbers with fractions that are not whole, or too many whole ones to be classes.

    Half of the labels decide, so that a stray word is an error with its line, not a
    reason to take every other number for a class.
    """
    cells = _cells(table, label)
    numbers = [number for cell in cells if (number := _read(cell)) is not None]
    if label in table.classes or len(numbers) * 2 <= len(cells):
        return False
    distinct = set(numbers)
    if not all(number.is_integer() for number in distinct):  # NaN and infinity are not
        return True
    lowest, highest = min(distinct), max(distinct)
    numbered = lowest in (0, 1) and highest - lowest == len(distinct) - 1
    often = len(numbers) >= ROWS_A_CLASS * len(distinct)
    return len(distinct) > MAX_DISTINCT and not (numbered and often)


def _number(table: Table, line: int, label: str) -> float:
    value = _read(label)
    if value is None or not math.isfinite(value):
        raise DataError(
            f"{table.path}, line {line}: the label {label[:40]!r} is no number, as others are",
            hint="correct or remove the row; if the labels are classes, name them by words",
        )
    return value


def _read(cell: str) -> float | None:
    """The number a cell holds, if any, NaN and infinity included; Python's 1_000 is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
