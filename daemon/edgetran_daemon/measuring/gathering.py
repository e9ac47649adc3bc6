"""The raw samples of one subject as they come in, and the pieces that are sent of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgetran_protos.measuring.series import Column, Series, digest, encode, join

from edgetran_daemon.measuring.cores import Spent
from edgetran_daemon.serving.worker_process import Timed


@dataclass(frozen=True)
class Kept:
    """A piece that was sent: what the record says of it."""

    digest: str
    size_bytes: int


class Gathering:
    def __init__(self) -> None:
        self._pieces: list[Mapping[str, Column]] = []
        self._pending: dict[str, list[Column]] = {}
        self.kept: list[Kept] = []

    def add(self, columns: Mapping[str, Sequence[int] | Column]) -> None:
        for name, values in columns.items():
            self._pending.setdefault(name, []).append(np.asarray(values, np.int64))

    def phase(self, kind: int, from_ns: int, until_ns: int) -> None:
        self.add({"phase_kind": [kind], "phase_from_ns": [from_ns], "phase_until_ns": [until_ns]})

    def warm_up(self, timed: Timed) -> None:
        _, run_ns = times_ns(timed)
        self.add({"warm_up_ns": run_ns})

    def reference(self, timed: Timed) -> None:
        _, run_ns = times_ns(timed)
        self.add({"reference_ns": run_ns, "reference_runs": [len(run_ns)]})

    def block(self, timed: Timed, spent: Spent) -> None:
        start_ns, run_ns = times_ns(timed)
        self.add({"start_ns": start_ns, "run_ns": run_ns, "block_runs": [len(run_ns)]})
        self.add(
            {
                "waited_ns": [spent.waited_ns],
                "others_ns": [spent.others_ns],
                "observer_ns": [spent.observer_ns],
            }
        )

    def piece(self) -> bytes:
        """What came in since the last one."""
        columns = {name: np.concatenate(parts) for name, parts in self._pending.items()}
        self._pending = {}
        self._pieces.append(columns)
        data = encode(columns)
        self.kept.append(Kept(digest(data), len(data)))
        return data

    @property
    def series(self) -> Series:
        """Of all pieces so far."""
        return join(self._pieces)


def times_ns(timed: Timed) -> tuple[Column, Column]:
    """(start, duration) of each run. Ends are rounded, so that rounding makes no overlap."""
    start_ns = np.round(timed.started_s * 1e9).astype(np.int64)
    end_ns = np.round(timed.ended_s * 1e9).astype(np.int64)
    return start_ns, end_ns - start_ns
