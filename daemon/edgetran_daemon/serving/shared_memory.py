"""Tensors that lie in POSIX shared memory of a client on this machine, by Triton's extension.

A region is a name for a part of a shared memory object. Nothing of it is kept open or mapped: each
use opens the object anew, looks whose it is and how large, and copies by pread and pwrite. So a
client that dies leaves no descriptor and pins no memory, and one that cuts an object short gets an
error where a mapping would end the daemon with SIGBUS.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgetran_protos.errors import (
    BoardBusy,
    InputError,
    NotPermitted,
    RegionTaken,
    UnknownRegion,
    UsageError,
)

from edgetran_daemon.security.callers import Caller

FOLDER = Path("/dev/shm")  # where shm_open of Linux keeps its objects
MOST_REGIONS = 64  # of one caller
MOST_NAME_BYTES = 255  # of an object, by the system; of a region, by us
# O_NOFOLLOW: a link would lead out of the folder; O_NONBLOCK: a FIFO would wait for its other end.
HOW = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def unavailable() -> str:
    """Why this machine has no such memory; empty when it has."""
    if sys.platform != "linux" or not FOLDER.is_dir():
        return f"this system has no {FOLDER}"
    return ""


@dataclass(frozen=True)
class Region:
    name: str
    key: str  # as the client gave it
    offset: int
    size_bytes: int

    @property
    def object(self) -> str:
        """The file's name: shm_open's names begin with a slash, Python's may do without."""
        return self.key[1:] if self.key.startswith("/") else self.key


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a region."""

    region: str
    offset: int
    size_bytes: int


class Regions:
    """Every caller's own: who did not register a region does not see it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._known: dict[Caller, dict[str, Region]] = {}

    def register(self, caller: Caller, region: Region) -> None:
        """Raises UsageError, RegionTaken, UnknownRegion, NotPermitted, BoardBusy, InputError."""
        _check(region)
        known = self._known.setdefault(caller, {})
        if region.name in known:
            raise RegionTaken(
                f"shared memory is registered as {region.name!r} already",
                hint="unregister it first, or choose another name",
            )
        if len(known) >= MOST_REGIONS:
            raise BoardBusy(
                f"{len(known)} regions of shared memory are registered already",
                hint="unregister those that are no longer used",
            )
        with self._opened(caller, region, os.O_RDWR):
            known[region.name] = region

    def unregister(self, caller: Caller, name: str) -> None:
        """An empty name: all of the caller's. One that is not there: nothing to do."""
        known = self._known.get(caller, {})
        if name:
            known.pop(name, None)
        if not name or not known:
            self._known.pop(caller, None)

    def of(self, caller: Caller, name: str = "") -> list[Region]:
        """An empty name: all of the caller's. Raises UnknownRegion."""
        return [self._region(caller, name)] if name else [*self._known.get(caller, {}).values()]

    def check(self, caller: Caller, place: Place) -> None:
        """Raises what `read` and `write` would as things stand."""
        with self._opened(caller, self._holding(caller, place), os.O_RDWR):
            pass

    def read(self, caller: Caller, place: Place) -> bytes:
        """Raises UnknownRegion, NotPermitted, InputError."""
        region = self._holding(caller, place)
        with self._opened(caller, region, os.O_RDONLY) as file:
            data = os.pread(file, place.size_bytes, region.offset + place.offset)
        if len(data) < place.size_bytes:  # it was cut while we read
            raise _too_small(region)
        return data

    def write(self, caller: Caller, place: Place, data: bytes) -> None:
        """Raises UnknownRegion, NotPermitted, InputError."""
        region = self._holding(caller, place)
        with self._opened(caller, region, os.O_RDWR) as file:
            written = os.pwrite(file, data, region.offset + place.offset)
        if written < len(data):
            raise InputError(f"shared memory {region.key!r} took {written} of {len(data)} bytes")

    def _region(self, caller: Caller, name: str) -> Region:
        found = self._known.get(caller, {}).get(name)
        if found is None:
            raise UnknownRegion(
                f"no shared memory is registered as {name!r}",
                hint="register it first; each user of this machine has regions of their own",
            )
        return found

    def _holding(self, caller: Caller, place: Place) -> Region:
        region = self._region(caller, place.region)
        if place.offset + place.size_bytes > region.size_bytes:
            raise InputError(
                f"{place.size_bytes} bytes at {place.offset} do not lie in the region"
                f" {region.name!r}, which has {region.size_bytes}"
            )
        return region

    @contextmanager
    def _opened(self, caller: Caller, region: Region, mode: int) -> Iterator[int]:
        """The object's descriptor, once it is the caller's and holds the region."""
        try:
            file = os.open(self._folder / region.object, mode | HOW)
        except OSError as exc:
            raise _not_opened(region, exc) from exc
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{region.key!r} is no shared memory object")
            if not caller.may_open(found):
                raise NotPermitted(
                    f"shared memory {region.key!r} is another user's",
                    hint="create it as the user who calls (over a Unix socket that others of the"
                    " daemon's group may use: readable and writable by that group)",
                )
            if found.st_size < region.offset + region.size_bytes:
                raise _too_small(region, found.st_size)
            try:
                yield file
            except OSError as exc:  # no memory left for it, for one
                raise InputError(
                    f"shared memory {region.key!r}: {os.strerror(exc.errno or 0)}"
                ) from exc
        finally:
            os.close(file)


def _check(region: Region) -> None:
    name = region.object
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise UsageError(
            f"{region.key!r} is no name of shared memory",
            hint="a slash and a name without further ones, e.g. /input",
        )
    if len(os.fsencode(name)) > MOST_NAME_BYTES or len(region.name.encode()) > MOST_NAME_BYTES:
        raise UsageError(f"a name has more than {MOST_NAME_BYTES} bytes")
    if not region.name:
        raise UsageError("a region needs a name", hint="any that is not in use")
    if region.size_bytes <= 0 or region.offset < 0:
        raise UsageError(
            f"{region.size_bytes} bytes at {region.offset} are no part of shared memory",
            hint="give the size in bytes, and where it begins",
        )


def _too_small(region: Region, size_bytes: Optional[int] = None) -> InputError:
    has = "was cut short" if size_bytes is None else f"has {size_bytes} bytes"
    return InputError(
        f"shared memory {region.key!r} {has},"
        f" the region {region.name!r} ends at {region.offset + region.size_bytes}"
    )


def _not_opened(region: Region, exc: OSError) -> Exception:
    if exc.errno == errno.ENOENT:
        return UnknownRegion(
            f"there is no shared memory {region.key!r} on this machine",
            hint="create it before, and unregister it before it is destroyed; the client and the"
            " daemon need the same /dev/shm",
        )
    if exc.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(
            f"the daemon's user may not open shared memory {region.key!r}",
            hint="run the client as that user, or let the daemon's group read and write it",
        )
    if exc.errno == errno.ELOOP:
        return UsageError(f"{region.key!r} is a link and no shared memory object")
    return InputError(f"shared memory {region.key!r}: {exc.strerror}")
