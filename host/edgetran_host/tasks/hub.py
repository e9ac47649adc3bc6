"""Rows from Hugging Face `datasets`, by name on the hub or by local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetran_protos.errors import DataError

from edgetran_host.tasks.tables import Table

DEV_SPLITS = ("validation", "dev", "test", "validation_matched")


def hub_splits(name: str) -> tuple[Table, Table]:
    """Train and dev of `NAME` or `NAME:CONFIGURATION`. Raises DataError."""
    import datasets

    path, _, configuration = name.partition(":")
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(path, configuration or None)
    except Exception as exc:  # its loaders share no base class
        raise DataError(
            f"hf:{name} cannot be loaded: {_first_line(exc)}",
            hint="check name and network, or give a local folder",
        ) from exc
    dev = next((split for split in DEV_SPLITS if split in found), None)
    if "train" not in found or dev is None:
        raise DataError(f"hf:{name} has the splits {', '.join(found)}; train and validation needed")
    return _table(name, found["train"]), _table(name, found[dev])


def _table(name: str, split: Any) -> Table:
    """Class labels become their words, everything else its text."""
    columns = tuple(split.column_names)
    words = {c: getattr(split.features[c], "names", None) for c in columns}

    def cell(column: str, value: object) -> str:
        names = words[column]
        if names and isinstance(value, int) and 0 <= value < len(names):
            return str(names[value])
        return "" if value is None else str(value)

    rows = tuple(tuple(cell(c, row[c]) for c in columns) for row in split)
    return Table(Path(f"hf:{name}"), columns, rows, tuple(range(1, len(rows) + 1)))


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
