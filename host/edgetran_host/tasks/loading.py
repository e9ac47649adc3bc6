"""Finds a task by name: the shipped one, a folder or file of rows, a data set on the hub.

intents                  ships with edgetran, see tasks/intents/README.md
path/to/folder           train.* and dev.* as .tsv (GLUE's layout), .csv, .jsonl or .json
path/to/rows.csv         one file; every tenth row is held out as dev
hf:NAME or hf:NAME:CONF  Hugging Face `datasets`, from the hub or a local folder
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from edgetran_protos.errors import DataError

from edgetran_host.tasks.columns import layout_of, rows_of
from edgetran_host.tasks.scoring import metric_of
from edgetran_host.tasks.tables import SUFFIXES, Table, read_table
from edgetran_host.tasks.task import CLASSIFICATION, REGRESSION, Row, Task, check, label_order

SHIPPED = "intents"
HUB_PREFIX = "hf:"
TRAIN_NAMES = ("train",)
DEV_NAMES = ("dev", "validation", "valid", "val", "dev_matched")
HELD_OUT_SHARE = 0.1
MAX_HELD_OUT = 2000


def load_task(source: str, limit: int | None = None) -> Task:
    """The task at `source`, with the first `limit` training rows. Raises DataError."""
    if source == SHIPPED:
        return _shipped(limit)
    if source.startswith(HUB_PREFIX):
        from edgetran_host.tasks.hub import hub_splits

        name = source.removeprefix(HUB_PREFIX)
        return _task(name.replace("/", "-").replace(":", "-"), *hub_splits(name), limit)
    path = Path(source).expanduser()
    if path.is_dir():
        return _task(path.resolve().name, *_splits(path), limit)
    if not path.exists():
        raise DataError(
            f"{source}: no such file, folder or task",
            hint="give `intents`, a folder with train.tsv and dev.tsv, a .csv or .jsonl file, "
            "or hf:NAME",
        )
    if path.suffix not in SUFFIXES:
        raise DataError(f"{source}: not a {', '.join(SUFFIXES)} file")
    return _task(path.stem, *_halves(read_table(path)), limit)


def _shipped(limit: int | None) -> Task:
    """Generated when asked for; there are no files of it."""
    from edgetran_host.tasks.intents import utterances

    train, dev = (
        tuple(Row(found.heard, None, found.intent) for found in utterances(split))
        for split in ("train", "dev")
    )
    return check(
        Task(
            name=SHIPPED,
            kind=CLASSIFICATION,
            labels=label_order({str(row.label) for row in train}),
            pairs=False,
            metric=metric_of(SHIPPED, False),
            train=_first(train, limit),
            dev=dev,
        )
    )


def _splits(folder: Path) -> tuple[Table, Table]:
    return read_table(_find(folder, TRAIN_NAMES)), read_table(_find(folder, DEV_NAMES))


def _find(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        for suffix in SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    raise DataError(
        f"{folder} has no {names[0]} file",
        hint=f"name it {names[0]}.tsv, .csv or .jsonl",
    )


def _halves(table: Table) -> tuple[Table, Table]:
    """Holds rows out of a single file; the same rows in every run."""
    order = list(range(len(table.rows)))
    random.Random(0).shuffle(order)
    held = min(MAX_HELD_OUT, round(len(order) * HELD_OUT_SHARE))
    if held < 1:
        raise DataError(f"{table.path} has {len(order)} rows, too few to hold some out")
    return _pick(table, sorted(order[held:])), _pick(table, sorted(order[:held]))


def _pick(table: Table, chosen: Sequence[int]) -> Table:
    return Table(
        table.path,
        table.columns,
        tuple(table.rows[i] for i in chosen),
        tuple(table.lines[i] for i in chosen),
    )


def _task(name: str, train_table: Table, dev_table: Table, limit: int | None) -> Task:
    layout = layout_of(train_table)
    train, dev = rows_of(train_table, layout), rows_of(dev_table, layout_of(dev_table, layout))
    if not train or not dev:
        empty = train_table if not train else dev_table
        raise DataError(f"{empty.path} has a first line, but no rows")
    return check(
        Task(
            name=name,
            kind=REGRESSION if layout.numeric else CLASSIFICATION,
            labels=() if layout.numeric else label_order({str(row.label) for row in train}),
            pairs=layout.pair is not None,
            metric=metric_of(name, layout.numeric),
            train=_first(train, limit),
            dev=dev,
        )
    )


def _first(rows: tuple[Row, ...], limit: int | None) -> tuple[Row, ...]:
    return rows if limit is None else rows[:limit]
