"""A fixed piece of work that tells how fast this machine is just now: arithmetic and memory."""

from typing import Any

import numpy as np

SIDE = 192  # of the matrices: 14 MFLOP a product
COPIED_BYTES = 2 << 20  # beyond the caches nearest to a core


class Reference:
    """The same on every board and at any time; nothing of the model is in it."""

    def __init__(self) -> None:
        self._left = np.full((SIDE, SIDE), 0.5, np.float32)
        self._right = np.full((SIDE, SIDE), 0.25, np.float32)
        self._product = np.empty((SIDE, SIDE), np.float32)
        self._from = np.zeros(COPIED_BYTES, np.uint8)
        self._to = np.empty(COPIED_BYTES, np.uint8)

    def run(self, nothing: Any = None) -> None:
        np.dot(self._left, self._right, out=self._product)
        np.copyto(self._to, self._from)
