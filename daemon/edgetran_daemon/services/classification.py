"""Triton's classification extension: the largest entries of an output as readable strings."""

from __future__ import annotations

import numpy as np
from edgetran_protos.errors import InputError

from edgetran_daemon.runtimes.base import Tensor


def best_classes(values: Tensor, count: int, labels: tuple[str, ...]) -> Tensor:
    """(rows, classes) -> (rows, count) of b"value:class:label", the largest first.

    labels: one a class, or none. Raises InputError.
    """
    if values.dtype == np.dtype(object) or values.ndim != 2 or count < 0:
        raise InputError(
            f"no {count} classes of an output of shape {values.shape}, type {values.dtype}",
            hint="ask for classes of logits or scores",
        )
    count = min(count, values.shape[1])
    found = np.empty((len(values), count), object)
    for row, scores in enumerate(values):
        for place, index in enumerate(np.argsort(-scores, kind="stable")[:count]):
            label = f":{labels[index]}" if len(labels) == len(scores) else ""
            found[row, place] = f"{scores[index]:f}:{index}{label}".encode()
    return found
