"""Bundles of untrained designs, kept while boards measure them, the latest a little longer.

Several boards may want one design; but a search tries hundreds, and each bundle is as large
as a model.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetran_host.space.architecture import Architecture
from edgetran_host.space.identity import architecture_id

KEPT = 8  # beside those in use
DIGITS = 16  # of a design's name in file names

Write = Callable[[Architecture, str, str, Path], None]  # design, runtime, precision, to


class BundleShelf:
    def __init__(self, folder: Path, write: Write) -> None:
        """What a killed process left half made is gone."""
        self._folder, self._write = folder, write
        self._lock = threading.Lock()
        self._making: dict[Path, threading.Lock] = {}
        self._used: Counter[Path] = Counter()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".make-*"):
            shutil.rmtree(left)

    @contextmanager
    def bundle(self, design: Architecture, runtime: str, precision: str) -> Iterator[Path]:
        """Made where it is not there; it stays at least as long as this."""
        path = self._folder / f"{architecture_id(design)[:DIGITS]}-{runtime}-{precision}.tar"
        with self._lock:
            self._used[path] += 1
            making = self._making.setdefault(path, threading.Lock())
        try:
            with making:
                if path.exists():
                    path.touch()
                else:
                    self._write(design, runtime, precision, path)
            yield path
        finally:
            with self._lock:
                self._used[path] -= 1
                self._clear()

    def _clear(self) -> None:
        idle = [path for path in self._folder.glob("*.tar") if not self._used[path]]
        idle.sort(key=lambda path: path.stat().st_mtime)
        for path in idle[:-KEPT]:
            path.unlink()
            self._making.pop(path, None)
