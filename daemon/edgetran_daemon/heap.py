"""How the C library keeps memory: what is freed goes back to the system, which others need too.

Only glibc is told; with any other nothing happens.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Optional

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of malloc.h
LARGE_BYTES = 256 << 10
ARENAS = 2


def keep_little() -> None:
    """From now on: a large piece goes back when it is freed, and threads share the rest.

    Left alone, glibc stops giving back pieces of a size that was freed once, and makes an
    arena for each thread; both hold what a measurement or an upload needed long ago.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """After something of many small pieces was freed."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.lru_cache(maxsize=1)
def _glibc() -> Optional[ctypes.CDLL]:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
