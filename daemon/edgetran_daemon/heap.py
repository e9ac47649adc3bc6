"""How memory is kept: what is freed goes back to the system, which others need too.

Of C libraries only glibc is told; with any other nothing happens.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from typing import Optional

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of malloc.h
LARGE_BYTES = 256 << 10
ARENAS = 2
INTERNED = 1 << 15  # more than the table of interned strings has room for after all imports


def keep_little() -> None:
    """From now on: a large piece goes back when it is freed, and threads share the rest.

    Left alone, glibc stops giving back pieces of a size that was freed once, and makes an
    arena for each thread; both hold what a measurement or an upload needed long ago.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_ARENA_MAX, ARENAS)


def settle() -> None:
    """When all that stays is there: what would be taken some day is taken now, and little waits.

    The collector of cycles waits until a quarter as many objects have come as it last looked at.
    Beside all that was imported these are megabytes, and what stays is put between them; each
    call of gRPC leaves a cycle. From now on it looks only at what comes from now on.

    pathlib interns each part of a path. The table of interned strings does not use the room of
    one that is gone again, and is made anew when it is full: larger the first time (1 MB).
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # counts anew how many there are to look at
    for number in range(INTERNED):
        sys.intern(f"{number} is soon forgotten")


def give_back() -> None:
    """After something of many small pieces was let go of."""
    gc.collect()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.lru_cache(maxsize=1)
def _glibc() -> Optional[ctypes.CDLL]:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
