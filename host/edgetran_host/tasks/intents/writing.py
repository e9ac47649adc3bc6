"""The task's rows as files, for people who want to see or edit them."""

from __future__ import annotations

import os
from pathlib import Path

from edgetran_protos.errors import UsageError

from edgetran_host.tasks.intents.generation import Utterance, utterances
from edgetran_host.tasks.intents.grammar import SPLITS

HEADER = "sentence\tlabel"


def write_tables(folder: Path) -> tuple[Path, ...]:
    """train.tsv and dev.tsv in GLUE's layout. Raises UsageError when one is there already."""
    paths = {split: folder / f"{split}.tsv" for split in SPLITS}
    taken = [path.name for path in paths.values() if path.exists()]
    if taken:
        raise UsageError(
            f"{folder} has {' and '.join(taken)} already",
            hint="name another folder, or move them away first",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, path in paths.items():
            _write(path, _tsv(utterances(split)))
    except OSError as exc:
        raise UsageError(f"{folder} cannot be written: {exc.strerror}") from exc
    return tuple(paths.values())


def _tsv(rows: tuple[Utterance, ...]) -> bytes:
    lines = [HEADER, *(f"{row.heard}\t{row.intent}" for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
