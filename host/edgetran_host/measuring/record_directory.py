"""A measurement on disk, as it comes in and when it is whole.

    RECORD/record.json               the document (edgetran_protos.measuring.document)
    RECORD/samples/<sha256>.npz      raw samples, each named by the digest of its bytes
    RECORD/unfinished.json           instead of record.json while it lasts, or after a break

An emulated board has no samples, and its record says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetran_protos.bundle import check_digest_name
from edgetran_protos.errors import BundleError, DataError, UsageError
from edgetran_protos.measuring.document import DocumentError, check
from edgetran_protos.measuring.series import digest

from edgetran_host.job.run_directory import write_atomically

DOCUMENT, UNFINISHED, SAMPLES = "record.json", "unfinished.json", "samples"


@dataclass(frozen=True)
class Record:
    """What was kept: the document, and the bytes of its pieces in order."""

    path: Path
    document: Mapping[str, Any]
    pieces: tuple[bytes, ...]


class RecordDirectory:
    """Written piece by piece, so that a board that breaks off takes nothing with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._document: dict[str, Any] = {}
        self._samples: list[dict[str, Any]] = []

    @staticmethod
    def create(path: Path) -> RecordDirectory:
        """Raises UsageError when something is there already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists already", hint="choose another --out, or remove it")
        path.mkdir(parents=True, exist_ok=True)
        return RecordDirectory(path)

    @property
    def begun(self) -> bool:
        return bool(self._samples)

    @property
    def document(self) -> dict[str, Any]:
        """As far as it is known."""
        return {**self._document, "samples": list(self._samples)}

    def add(self, data: bytes, begun: Mapping[str, Any] | None) -> None:
        """A piece; with the first one the document without figures."""
        if begun is not None:
            self._document = dict(begun)
        name = digest(data)
        folder = self.path / SAMPLES
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{check_digest_name(name)}.npz", data)
        self._samples.append({"digest": name, "size_bytes": len(data)})
        write_atomically(self.path / UNFINISHED, _text(self.document))

    def finish(self, document: Mapping[str, Any]) -> None:
        write_atomically(self.path / DOCUMENT, _text(document))
        (self.path / UNFINISHED).unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """RECORD, or its record.json. Raises DataError when it is none, or pieces are gone."""
    folder = path.parent if path.name == DOCUMENT else path
    file = folder / DOCUMENT
    if not file.exists():
        if (folder / UNFINISHED).exists():
            raise DataError(f"{folder} was never finished", hint="measure again")
        raise DataError(f"there is no record in {folder}", hint="`edgetran profile` makes one")
    try:
        document = json.loads(file.read_bytes())
        check(document)
        names = [check_digest_name(entry["digest"]) for entry in document["samples"]]
    except (DocumentError, BundleError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise DataError(f"{file} is no record: {exc}", hint="measure again") from exc
    return Record(folder, document, tuple(_piece(folder, name) for name in names))


def read_pieces(folder: Path, samples: Sequence[Mapping[str, Any]]) -> tuple[bytes, ...]:
    return tuple(_piece(folder, check_digest_name(entry["digest"])) for entry in samples)


def _piece(folder: Path, name: str) -> bytes:
    file = folder / SAMPLES / f"{name}.npz"
    try:
        return file.read_bytes()
    except FileNotFoundError as exc:
        raise DataError(
            f"{file} is missing: the record names it", hint="copy the whole directory"
        ) from exc


def _text(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()
