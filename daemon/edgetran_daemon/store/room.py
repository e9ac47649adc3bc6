"""A full disk, told apart from every other failure to write."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from edgetran_protos.errors import DiskFull

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: a card's file system, or a limit
HINT = "remove models or bundles that are no longer needed, or free some of the board's disk"


@contextmanager
def room(what: str) -> Iterator[None]:
    """Within, a write for which there is no room raises DiskFull."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in FULL:
            raise
        raise DiskFull(f"{what}: no room left on the board", hint=HINT) from exc
