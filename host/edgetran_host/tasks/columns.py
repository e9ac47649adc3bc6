"""Which column of a table is the text, its pair and the label, by the names people use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgetran_protos.errors import DataError

from edgetran_host.tasks.tables import Table
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
MAX_DISTINCT = 64  # whole numbers with more distinct values are quantities, not classes


@dataclass(frozen=True)
class Layout:
    text: str
    pair: str | None
    label: str
    numeric: bool  # labels are quantities: regression


def layout_of(table: Table, like: Layout | None = None) -> Layout:
    """The table's columns; `like` is the train split's layout, which dev must share."""
    if like is not None:
        wanted = [like.text, like.label, *([like.pair] if like.pair else [])]
        missing = [name for name in wanted if name not in table.columns]
        if missing:
            raise DataError(
                f"{table.path} lacks the column {', '.join(missing)} that train has",
                hint=f"its columns are {', '.join(table.columns)}",
            )
        return like
    label = next((name for name in LABELS if name in table.columns), None)
    pair = next((both for both in PAIRS if set(both) <= set(table.columns)), None)
    single = next((name for name in SINGLES if name in table.columns), None)
    if label is None or (pair is None and single is None):
        lacking = "text" if label is not None else "label"
        names = SINGLES if label is not None else LABELS
        raise DataError(
            f"{table.path} has no {lacking} column; its columns are {', '.join(table.columns)}",
            hint=f"name one {' or '.join(names[:3])}",
        )
    numeric = _quantities(table, label)
    if pair is not None:
        return Layout(pair[0], pair[1], label, numeric)
    assert single is not None
    return Layout(single, None, label, numeric)


def rows_of(table: Table, layout: Layout) -> tuple[Row, ...]:
    at = {name: table.columns.index(name) for name in table.columns}
    rows = []
    for line, cells in zip(table.lines, table.rows):
        text = cells[at[layout.text]].strip()
        pair = cells[at[layout.pair]].strip() if layout.pair else None
        label = cells[at[layout.label]].strip()
        if not text or pair == "" or not label:
            name = layout.text if not text else layout.label if not label else layout.pair
            raise DataError(f"{table.path}, line {line}: {name} is empty", hint="remove the line")
        rows.append(Row(text, pair, _number(table, line, label) if layout.numeric else label))
    return tuple(rows)


def _quantities(table: Table, label: str) -> bool:
    """Numbers with fractions that are not whole, or very many whole ones."""
    at = table.columns.index(label)
    cells = [row[at].strip() for row in table.rows]
    try:
        numbers = {float(cell) for cell in cells if cell}
    except ValueError:
        return False
    if not all(map(math.isfinite, numbers)):
        return False
    return any(not n.is_integer() for n in numbers) or len(numbers) > MAX_DISTINCT


def _number(table: Table, line: int, label: str) -> float:
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{table.path}, line {line}: {label!r} is no number, as train's labels are")
    return value
