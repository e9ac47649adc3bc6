"""What a measurement is asked for and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

VALID, SUSPECT, INVALID, MODELLED = "valid", "suspect", "invalid", "modelled"


@dataclass(frozen=True)
class Subject:
    bundle_digest: str
    variant: str = ""  # empty: the variant the board would serve


@dataclass(frozen=True)
class MeasureSpec:
    subjects: tuple[Subject, ...]
    threads: int
    warmup_runs: int = 10
    runs: int = 100  # timed runs a block, at least
    blocks: int = 5
    batch_size: int = 1
    min_block_s: float = 1.0
    lease_token: int = 0  # 0: the client has no lease


@dataclass(frozen=True)
class Quantity:
    """A value with the bounds of its 95 % interval, if any are known."""

    value: float
    low: Optional[float] = None
    high: Optional[float] = None


@dataclass(frozen=True)
class MeasureRecord:
    bundle_digest: str
    variant: str
    board: str
    unit: str
    modelled: bool
    source: str
    verdict: str
    reasons: tuple[str, ...]
    latency_p50_s: Quantity
    latency_p95_s: Quantity
    latency_p99_s: Quantity
    energy_j: Optional[Quantity]  # one inference; None: no usable sensor
    peak_power_w: Optional[Quantity]
    latency_cv: float
    load_s: float
    peak_memory_bytes: int
    artefact_bytes: int
    threads: int
    batch_size: int
    sequence_length: int
    runs_a_block: int
    runtime: str
    started_unix_s: float
    samples_s: Sequence[float] = field(default=())


@dataclass(frozen=True)
class MeasureProgress:
    stage: str  # "load", "warm-up", "measure"
    done: int
    total: int
