"""A bundle that goes to many boards: each blob is read and checked once, then kept."""

from __future__ import annotations

import threading
from pathlib import Path

from edgetran_protos.bundle import Bundle


class SharedBundle(Bundle):
    """May be read from several threads; takes as much memory as the bundle has bytes."""

    @staticmethod
    def of(path: Path) -> SharedBundle:
        """Raises BundleError."""
        return SharedBundle(Bundle.open(path))

    def __init__(self, bundle: Bundle) -> None:
        self.__dict__.update(bundle.__dict__)
        self._kept: dict[str, bytes] = {}
        self._reading = threading.Lock()

    def read(self, digest: str) -> bytes:
        with self._reading:
            if digest not in self._kept:
                self._kept[digest] = super().read(digest)
            return self._kept[digest]
