"""Freed memory that the C library keeps for later, given back to the system at once."""

from __future__ import annotations

import ctypes
import functools
from typing import Optional


def give_back() -> None:
    """After something large was freed. Does nothing where the C library is not glibc."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.lru_cache(maxsize=1)
def _glibc() -> Optional[ctypes.CDLL]:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
