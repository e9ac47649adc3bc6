"""Finds a task by name: the shipped one, a folder or file of rows, a data set on the hub.

intents                  ships with edgetran, see tasks/intents/README.md
path/to/folder           train.* and dev.* as .tsv (GLUE's layout), .csv, .jsonl or .json
path/to/rows.csv         one file; one row in ten, drawn at random, is held out as dev
hf:NAME or hf:NAME:CONF  Hugging Face `datasets`, from the hub or a local folder
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgetran_protos.errors import DataError

from edgetran_host.tasks.columns import Layout, layout_of, rows_of
from edgetran_host.tasks.scoring import metric_of
from edgetran_host.tasks.tables import SUFFIXES, Table, read_table
from edgetran_host.tasks.task import CLASSIFICATION, REGRESSION, Row, Task, check, label_order

SHIPPED = "intents"
HUB_PREFIX = "hf:"
TRAIN_NAMES = ("train",)
DEV_NAMES = ("dev", "validation", "valid", "val", "dev_matched")
HELD_OUT_SHARE = 0.1
MAX_HELD_OUT = 2000
SOURCES = "give `intents`, a folder with train.tsv and dev.tsv, a .csv or .jsonl file, or hf:NAME"


def load_task(source: str, limit: int | None = None) -> Task:
    """The task at `source`, with at most `limit` training rows. Raises DataError."""
    if source == SHIPPED:
        return _shipped(limit)
    if source.startswith(HUB_PREFIX):
        from edgetran_host.tasks.hub import hub_splits, task_name

        name, known = task_name(source.removeprefix(HUB_PREFIX))
        train, dev = hub_splits(source.removeprefix(HUB_PREFIX))
        return _task(name, known, train, dev, layout_of(train), limit)
    path = Path(os.path.expanduser(source))
    if source and _is_folder(path):
        name = path.resolve().name
        train, dev = _splits(path)
        return _task(name, name, train, dev, layout_of(train), limit)
    table = _file(source, path)
    layout = layout_of(table)
    return _task(path.stem, path.stem, *_halves(table, layout), layout, limit)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as exc:  # a name that is too long, a folder that may not be read
        raise DataError(f"{path} cannot be read: {exc.strerror}", hint=SOURCES) from exc


def _file(source: str, path: Path) -> Table:
    if not source or not path.exists():
        raise DataError(f"{source!r}: no such file, folder or task", hint=SOURCES)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{source} is no {', '.join(SUFFIXES)} file", hint=SOURCES)
    return read_table(path)


def _shipped(limit: int | None) -> Task:
    """Generated when asked for; there are no files of it."""
    from edgetran_host.tasks.intents import utterances

    train, dev = (
        tuple(Row(found.heard, None, found.intent) for found in utterances(split))
        for split in ("train", "dev")
    )
    labels = label_order({str(row.label) for row in train})
    return check(
        Task(
            name=SHIPPED,
            kind=CLASSIFICATION,
            labels=labels,
            pairs=False,
            metric=metric_of(SHIPPED, len(labels)),
            train=_first(train, limit),
            dev=dev,
        )
    )


def _splits(folder: Path) -> tuple[Table, Table]:
    return read_table(_find(folder, TRAIN_NAMES)), read_table(_find(folder, DEV_NAMES))


def _find(folder: Path, names: Sequence[str]) -> Path:
    """The one file of a split: two would leave open which is meant."""
    tried = [folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    found = [path for path in tried if path.is_file()]
    if not found:
        raise DataError(
            f"{folder} has no {names[0]} file",
            hint=f"name it {names[0]}.tsv, .csv or .jsonl",
        )
    if len(found) > 1:
        raise DataError(
            f"{folder} has several {names[0]} files: {', '.join(path.name for path in found)}",
            hint="keep one of them in the folder",
        )
    return found[0]


def _halves(table: Table, layout: Layout) -> tuple[Table, Table]:
    """Holds rows out of a single file, the same in every run; no label's last row."""
    order = list(range(len(table.rows)))
    random.Random(0).shuffle(order)
    wanted = min(MAX_HELD_OUT, round(len(order) * HELD_OUT_SHARE))
    at = table.columns.index(layout.label)
    labels = [row[at].strip() for row in table.rows]
    left = Counter(labels)
    held: list[int] = []
    for i in order:
        if len(held) < wanted and (layout.numeric or left[labels[i]] > 1):
            left[labels[i]] -= 1
            held.append(i)
    if not held:
        raise DataError(
            f"{table.path} has {len(order)} rows, too few to hold some out",
            hint="add rows, or give a folder with a train and a dev file",
        )
    return _pick(table, sorted(set(order) - set(held))), _pick(table, sorted(held))


def _pick(table: Table, chosen: Sequence[int]) -> Table:
    rows, lines = [table.rows[i] for i in chosen], [table.lines[i] for i in chosen]
    return dataclasses.replace(table, rows=tuple(rows), lines=tuple(lines))


def _task(
    name: str, known: str, train_table: Table, dev_table: Table, layout: Layout, limit: int | None
) -> Task:
    """known: what a data set of renown is called, which decides its metric."""
    train, dev = rows_of(train_table, layout), rows_of(dev_table, layout_of(dev_table, layout))
    declared = train_table.classes.get(layout.label)
    labels = () if layout.numeric else _labels({str(row.label) for row in train}, declared)
    return check(
        Task(
            name=name,
            kind=REGRESSION if layout.numeric else CLASSIFICATION,
            labels=labels,
            pairs=layout.pair is not None,
            metric=metric_of(known, len(labels)),
            train=_first(train, limit),
            dev=dev,
        )
    )


def _labels(found: set[str], declared: Sequence[str] | None) -> tuple[str, ...]:
    """In the order that the source declares, if it does."""
    if declared is None or found - set(declared):
        return label_order(found)
    return tuple(label for label in declared if label in found)


def _first(rows: tuple[Row, ...], limit: int | None) -> tuple[Row, ...]:
    """The first rows, if they show every label that the rest has.

    Of a file in the order of its labels they would not: then rows drawn from all of it,
    the same in every run.
    """
    if limit is None or limit >= len(rows):
        return rows
    first = rows[:limit]
    if {row.label for row in first} == {row.label for row in rows}:
        return first
    return tuple(rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), limit)))
