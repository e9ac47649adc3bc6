"""Where text comes from: files, folders of them, or a Hugging Face data set.

Sources are read in order, documents one by one; nothing is kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetran_protos.errors import DataError

from edgetran_host.pretraining.documents import ENDINGS, documents

HUB = "hf:"
TEXT_COLUMNS = ("text", "content", "document", "sentence")


def check_sources(sources: Sequence[str]) -> None:
    """Raises DataError for what cannot be read; data sets are looked at when they are read."""
    for source in sources:
        if not source.startswith(HUB):
            files_of(source)


def texts(sources: Sequence[str]) -> Iterator[str]:
    """Raises DataError."""
    for source in sources:
        if source.startswith(HUB):
            yield from _hub_texts(source)
        else:
            yield from documents(files_of(source))


def files_of(source: str) -> list[Path]:
    """A file by itself, or all text files at any depth of a folder, by name."""
    path = Path(os.path.expanduser(source))
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            f"{source}: no such file or folder",
            hint=f"give {' or '.join(ENDINGS)} files, folders of them, or {HUB}NAME",
        )
    found = sorted(file for file in path.rglob("*") if file.name.endswith(ENDINGS))
    if not found:
        raise DataError(f"{source} holds no text", hint=f"text files end in {', '.join(ENDINGS)}")
    return found


def _hub_texts(source: str) -> Iterator[str]:
    """The train split of `hf:NAME` or `hf:NAME:CONFIGURATION`; NAME may be a local folder."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{source}: the datasets library is not installed",
            hint="pip install datasets, or give text files",
        ) from error
    name, _, configuration = source.removeprefix(HUB).partition(":")
    if not name:
        raise DataError(f"{source} names no data set", hint=f"give {HUB}NAME or {HUB}FOLDER")
    try:
        where = str(Path(os.path.expanduser(name)))
        found = datasets.load_dataset(where, configuration or None, split="train", streaming=True)
        rows = iter(found)
        first = next(rows, None)
    except Exception as error:  # its loaders share no base class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{source} cannot be loaded: {reason}",
            hint="check name and network, or give a local folder",
        ) from error
    if first is None:
        return
    column = next((each for each in TEXT_COLUMNS if isinstance(first.get(each), str)), None)
    if column is None:
        raise DataError(
            f"{source} has the columns {', '.join(first)}, none of them text",
            hint=f"a column must be called {' or '.join(TEXT_COLUMNS)}",
        )
    yield first[column]
    for row in rows:
        yield row[column]
