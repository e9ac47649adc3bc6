"""The raw samples of one measurement: named columns of whole numbers, kept in small pieces.

A piece is an .npz file that any numpy opens: one array a column, int64, each value as the
difference to the one before it, deflated. A measurement sends a piece after each block; the
pieces joined in order are its samples, and each is known by the digest of its bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Column = np.ndarray[Any, np.dtype[np.int64]]
Series = Mapping[str, Column]

UNKNOWN = -(1 << 62)  # in a column: this machine cannot tell
CLIPPED = UNKNOWN + 1  # of power_value: more than the sensor's range, nobody knows how much
IDLE, WARM_UP, REFERENCE, BLOCK = range(4)  # of phase_kind

COLUMNS = {  # name -> what one entry is; times are CLOCK_MONOTONIC's
    "warm_up_ns": "one warm-up run",
    "block_runs": "how many runs a block has",
    "start_ns": "when a timed run began",
    "run_ns": "how long it took",
    "waited_ns": "of a block: its threads were ready and had no core",
    "others_ns": "of a block: processor time of other work on its cores",
    "observer_ns": "of a block: processor time of the daemon itself",
    "reference_runs": "how many runs of the reference a slot has: before, between and after blocks",
    "reference_ns": "one run of the reference workload",
    "phase_kind": "0 idle, 1 warm-up, 2 reference, 3 block",
    "phase_from_ns": "when the phase began",
    "phase_until_ns": "when it ended",
    "seen_ns": "when the board was looked at",
    "seen_unix_ns": "the wall clock at that moment",
    "temperature_mc": "thousandths of a degree Celsius",
    "clock_khz": "of the slowest core in use",
    "throttled": "1: slowed down since the last look, 0: not",
    "power_ns": "when the power sensor was read",
    "power_value": "microjoules so far, or microwatts, as the sensor says",
    "power_rails": "how many rails answered",
}
LIMIT_BYTES = 256 << 20  # of all columns of a piece: more is no measurement of ours


class SeriesError(ValueError):
    """Bytes that are no piece of a measurement."""


def encode(columns: Mapping[str, Sequence[int] | Column]) -> bytes:
    """One piece; columns that it lacks are empty."""
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise SeriesError(f"no such columns: {', '.join(sorted(unknown))}")
    buffer = io.BytesIO()
    arrays = {name: np.asarray(values, np.int64) for name, values in columns.items()}
    kept = {name: _differences(values) for name, values in arrays.items() if len(values)}
    np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]
    return buffer.getvalue()


def decode(data: bytes) -> dict[str, Column]:
    """Raises SeriesError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LIMIT_BYTES:
            raise SeriesError(f"{size} bytes of samples, at most {LIMIT_BYTES} are possible")
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return {name: _sums(name, found[name]) for name in found.files}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, KeyError, MemoryError) as exc:
        raise SeriesError(f"no samples of a measurement: {exc}") from exc


def join(pieces: Iterable[Series]) -> dict[str, Column]:
    """Every column, those that no piece has too."""
    found: dict[str, list[Column]] = {name: [] for name in COLUMNS}
    for piece in pieces:
        for name, values in piece.items():
            found[name].append(values)
    empty = np.zeros(0, np.int64)
    return {name: np.concatenate([empty, *parts]) for name, parts in found.items()}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def known(column: Column) -> Column:
    kept: Column = column[column != UNKNOWN]
    return kept


def cut(values: Column, lengths: Column) -> list[Column]:
    """values in stretches of these lengths. Raises SeriesError when they do not add up."""
    if int(lengths.sum()) != len(values) or (lengths < 0).any():
        raise SeriesError(f"{len(values)} values are not stretches of {lengths.tolist()}")
    return np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []


def phases(series: Series, kind: int) -> list[tuple[int, int]]:
    """(from, until) in nanoseconds."""
    begun, ended = series["phase_from_ns"], series["phase_until_ns"]
    if not len(begun) == len(ended) == len(series["phase_kind"]):
        raise SeriesError("the phases have columns of different lengths")
    chosen = series["phase_kind"] == kind
    return list(zip(begun[chosen].tolist(), ended[chosen].tolist()))


def _differences(values: Column) -> Column:
    return np.diff(values, prepend=np.int64(0))


def _sums(name: str, values: Column) -> Column:
    if name not in COLUMNS or values.dtype != np.int64 or values.ndim != 1:
        raise SeriesError(f"column {name!r} is {values.dtype} {values.shape}")
    total: Column = np.cumsum(values, dtype=np.int64)
    return total
