"""Rows from Hugging Face `datasets`, by name on the hub or by local folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgetran_protos.errors import DataError

from edgetran_host.tasks.tables import Table, cell, is_structured

DEV_SPLITS = ("validation", "dev", "test", "validation_matched")


def task_name(source: str) -> tuple[str, str]:
    """What to call `NAME` or `NAME:CONFIGURATION`, and the part that names the data."""
    path, _, configuration = source.partition(":")
    if Path(os.path.expanduser(path)).is_dir():
        path = Path(os.path.expanduser(path)).resolve().name
    known = configuration or path.rpartition("/")[2]
    return "-".join([*path.split("/"), *([configuration] if configuration else [])]), known


def hub_splits(source: str) -> tuple[Table, Table]:
    """Train and dev of `NAME` or `NAME:CONFIGURATION`. Raises DataError."""
    import datasets

    path, _, configuration = source.partition(":")
    if not path:
        raise DataError("hf: names no data set", hint="give hf:NAME, or hf: and a local folder")
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(str(Path(os.path.expanduser(path))), configuration or None)
    except Exception as exc:  # its loaders share no base class
        raise DataError(
            f"hf:{source} cannot be loaded: {_first_line(exc)}",
            hint="check name and network, or give a local folder",
        ) from exc
    dev = next((split for split in DEV_SPLITS if split in found), None)
    if "train" not in found or dev is None:
        raise DataError(
            f"hf:{source} has the splits {', '.join(found)}; train and validation are needed",
            hint="a local folder needs a train and a validation file",
        )
    return _table(source, found["train"]), _table(source, found[dev])


def _table(source: str, split: Any) -> Table:
    """Class labels become their words, everything else its text."""
    columns = tuple(split.column_names)
    declared = {c: getattr(split.features[c], "names", None) for c in columns}
    classes = {c: tuple(map(str, names)) for c, names in declared.items() if names}
    rows, structured = [], set[str]()
    for row in split:
        structured |= {c for c in columns if is_structured(row[c])}
        rows.append(tuple(_text(row[c], classes.get(c, ())) for c in columns))
    return Table(
        Path(f"hf:{source}"),
        columns,
        tuple(rows),
        tuple(range(1, len(rows) + 1)),
        frozenset(structured),
        classes,
    )


def _text(value: object, words: tuple[str, ...]) -> str:
    if words and isinstance(value, int) and 0 <= value < len(words):
        return words[value]
    return cell(value)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
