"""Blobs by their digest, written so that a power cut never leaves a wrong one.

root/blobs/sha256/<hex>   complete, hash checked
root/blobs/sha256/<hex>.* what a runtime made of it (tensorrt.py), or its signatures; goes with it
root/partial/<hex>        arriving; resumed at its length
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional, Union

from edgetran_protos.bundle import check_digest_name
from edgetran_protos.errors import (
    BoardBusy,
    BundleCorrupt,
    BundleError,
    BundleMissing,
    DiskFull,
    UsageError,
)

from edgetran_daemon.faults import point
from edgetran_daemon.store.room import HINT, room

MAX_BLOB_BYTES = 4 << 30
RESERVE_BYTES = 64 << 20  # left free for the state file and the system's own needs
READ_BYTES = 1 << 20
MAX_READ_BYTES = 64 << 20
HEXES = re.compile("[0-9a-f]{64}")


class BlobStore:
    """Complete blobs are immutable: they appear by a rename and go by an unlink."""

    def __init__(
        self,
        root: Path,
        *,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        limit_bytes: Optional[int] = None,
    ) -> None:
        """limit_bytes: of all blobs together, those that arrive among them; None: what is free."""
        self._blobs = root / "blobs" / "sha256"
        self._partial = root / "partial"
        self._max_blob_bytes = max_blob_bytes
        self._reserve_bytes = reserve_bytes
        self._limit_bytes = limit_bytes
        self._arriving: dict[str, int] = {}  # its size when it has arrived
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(parents=True, exist_ok=True)
        for partial in self._blobs.glob(".*.partial"):  # of a signature, when the daemon was killed
            partial.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob is. Raises BundleMissing."""
        path = self._blobs / check_digest_name(digest)
        if not path.is_file():
            raise BundleMissing(f"blob {digest} is not on the board", hint="send the bundle again")
        return path

    def has(self, digest: str) -> bool:
        return (self._blobs / check_digest_name(digest)).is_file()

    def missing(self, digests: Sequence[str]) -> dict[str, int]:
        """digest -> bytes already here, of those that are incomplete; the rest count as recent."""
        lacking = {}
        for digest in digests:
            if self.has(digest):
                self.touch(digest)
            else:
                lacking[digest] = self.received_bytes(digest)
        return lacking

    def digests(self) -> list[str]:
        """Of every complete blob; what else lies in the folder is not ours."""
        names = (entry.name for entry in self._blobs.iterdir())
        return sorted(f"sha256:{name}" for name in names if HEXES.fullmatch(name))

    def size_bytes(self) -> int:
        """Of all blobs, those that arrive among them."""
        files = (file for folder in (self._blobs, self._partial) for file in os.scandir(folder))
        return sum(map(_size_bytes, files))

    def touch(self, digest: str) -> None:
        """Counts as recent from now on."""
        os.utime(self.path(digest))

    def age_s(self, digest: str, now_unix_s: float) -> float:
        return now_unix_s - self.path(digest).stat().st_mtime

    def drop_partials(self, now_unix_s: float, older_s: float) -> int:
        """Removes transfers that nobody resumed; the bytes freed."""
        freed = 0
        for path in self._partial.iterdir():
            if path.name in self._arriving:
                continue
            stat = path.stat()
            if now_unix_s - stat.st_mtime > older_s:
                path.unlink()
                point("partial-removed")
                freed += stat.st_size
        return freed

    def received_bytes(self, digest: str) -> int:
        """How much of a blob that is still arriving is here."""
        return _size_bytes(self._partial / check_digest_name(digest))

    def remove(self, digest: str) -> int:
        """The bytes freed; 0 when it was not here."""
        path = self._blobs / check_digest_name(digest)
        try:
            size_bytes = path.stat().st_size
            path.unlink()
            point("blob-removed")
        except FileNotFoundError:
            return 0
        for made in self._blobs.glob(f"{path.name}.*"):
            size_bytes += made.stat().st_size
            made.unlink()
        return size_bytes

    def read(self, digest: str, most_bytes: int = MAX_READ_BYTES) -> bytes:
        """For small blobs (manifest, card, tokenizer); checks the hash."""
        path = self.path(digest)
        size_bytes = path.stat().st_size
        if size_bytes > most_bytes:
            raise BundleError(
                f"blob {digest} has {size_bytes} bytes, at most {most_bytes} are read at once",
                hint="is it the digest of a bundle's manifest?",
            )
        data = path.read_bytes()
        self._check(digest, "sha256:" + hashlib.sha256(data).hexdigest())
        return data

    def verify(self, digest: str) -> int:
        """The blob's size. A blob that rotted is removed, so that it can be sent again."""
        path = self.path(digest)
        self._check(digest, _hash_file(path))
        return path.stat().st_size

    def _check(self, digest: str, found: str) -> None:
        if found != digest:
            self.remove(digest)
            raise BundleCorrupt(
                f"blob {digest} on the board has digest {found}",
                hint="send the bundle again; if it recurs, check the board's disk",
            )

    @contextmanager
    def arriving(self, digest: str, size_bytes: int, offset: int) -> Iterator[Arrival]:
        """A place for the chunks of one blob; what arrived stays for a later resume."""
        hexes = check_digest_name(digest)
        if hexes in self._arriving:
            raise BoardBusy(
                f"blob {digest} is being sent by another client",
                hint="try again in a minute; a connection that was lost is given up by then",
            )
        if size_bytes > self._max_blob_bytes:
            raise UsageError(
                f"blob {digest} has {size_bytes} bytes, the board takes {self._max_blob_bytes}"
            )
        self._check_offset(digest, size_bytes, offset)
        self._check_room(size_bytes - offset)
        self._arriving[hexes] = size_bytes
        try:
            places = self._partial / hexes, self._blobs / hexes
            with Arrival(digest, size_bytes, *places, offset) as arrival:
                yield arrival
        finally:
            del self._arriving[hexes]

    def _check_offset(self, digest: str, size_bytes: int, offset: int) -> None:
        received = self.received_bytes(digest)
        if offset > min(received, size_bytes):
            raise UsageError(
                f"blob {digest}: cannot go on at byte {offset}, {received} are here",
                hint="ask which blobs are missing again",
            )

    def room_bytes(self) -> int:
        """How much may come beside what is arriving."""
        free_bytes = shutil.disk_usage(self._partial).free - self._reserve_bytes
        if self._limit_bytes is not None:
            free_bytes = min(free_bytes, self._limit_bytes - self.size_bytes())
        return max(0, free_bytes - self._announced_bytes())

    def _announced_bytes(self) -> int:
        """What is still to come of the blobs that are arriving."""
        files = ((self._partial / hexes, size) for hexes, size in self._arriving.items())
        return sum(size - _size_bytes(file) for file, size in files if file.exists())

    def _check_room(self, more_bytes: int) -> None:
        room_bytes = self.room_bytes()
        if more_bytes > room_bytes:
            limit = "" if self._limit_bytes is None else "; --store-limit-mb is a limit, too"
            raise DiskFull(
                f"{more_bytes} bytes to come, the board has room for {room_bytes}",
                hint=f"{HINT}{limit}",
            )


class Arrival:
    """One blob on its way in."""

    def __init__(
        self, digest: str, size_bytes: int, partial: Path, final: Path, offset: int
    ) -> None:
        self._digest = digest
        self._size_bytes = size_bytes
        self._partial = partial
        self._final = final
        mode = "r+b" if partial.exists() else "w+b"
        self._file = partial.open(mode, buffering=0)  # a full disk shows at the write
        self._file.truncate(offset)
        self._file.seek(offset)
        point("blob-opened")

    def __enter__(self) -> Arrival:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        if self._file.tell() + len(chunk) > self._size_bytes:
            self._drop()
            raise BundleCorrupt(
                f"blob {self._digest}: more than the {self._size_bytes} bytes announced arrived",
                hint="send the bundle again",
            )
        rest = memoryview(chunk)
        with self._room():
            while rest:
                rest = rest[self._file.write(rest) :]
        point("blob-chunk")

    def finish(self) -> int:
        """Hashes what the disk holds and gives it its name. Raises BundleCorrupt."""
        with self._room():
            os.fsync(self._file.fileno())
        point("blob-synced")
        received = self._partial.stat().st_size
        if received < self._size_bytes:
            raise UsageError(
                f"blob {self._digest}: it ended at {received} of {self._size_bytes} bytes",
                hint=f"go on at byte {received}",
            )
        found = _hash_file(self._partial)
        if found != self._digest:
            self._drop()
            raise BundleCorrupt(
                f"blob: expected {self._digest}, found {found}", hint="send the bundle again"
            )
        with self._room():
            os.replace(self._partial, self._final)
            point("blob-renamed")
            sync_folder(self._final.parent)
        point("blob-kept")
        return received

    @contextmanager
    def _room(self) -> Iterator[None]:
        """What was received goes on a full disk: the models that serve need the room."""
        try:
            with room(f"blob {self._digest}"):
                yield
        except DiskFull:
            self._drop()
            raise

    def _drop(self) -> None:
        self._partial.unlink(missing_ok=True)
        point("partial-removed")


def _size_bytes(file: Union[Path, os.DirEntry[str]]) -> int:
    """0 when it is not there: an arriving blob gets its name, or is dropped, at any moment."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hash_file(path: Path) -> str:
    running = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            running.update(chunk)
    return "sha256:" + running.hexdigest()
