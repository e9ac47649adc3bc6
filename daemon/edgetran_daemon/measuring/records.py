"""What a measurement is asked for and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from edgetran_protos.measuring.quantity import Quantity


@dataclass(frozen=True)
class Subject:
    bundle_digest: str
    variant: str = ""  # empty: the variant the board would serve


@dataclass(frozen=True)
class MeasureSpec:
    subjects: tuple[Subject, ...]
    threads: int
    warmup_runs: int = 10
    warmup_limit_s: float = 5.0  # steady or not
    runs: int = 100  # timed runs a block, at least
    blocks: int = 5
    max_blocks: int = 0  # while the interval is too wide; 0: no more than `blocks`
    half_width: float = 0.01  # of the median's interval, as a share of it
    samples: bool = False  # the raw samples are sent too
    batch_size: int = 1
    min_block_s: float = 1.0
    lease_token: int = 0  # 0: the client has no lease


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
    energy_net_j: Optional[Quantity] = None
    idle_power_w: Optional[float] = None
    calibration: str = ""  # whose figures these are, when modelled
    samples_s: Sequence[float] = field(default=())
    document: Mapping[str, Any] = field(default_factory=dict)  # edgetran_protos.measuring.document


@dataclass(frozen=True)
class MeasurePiece:
    """Raw samples of one subject since its last piece."""

    subject: int
    data: bytes
    begun: Optional[Mapping[str, Any]] = None  # with its first piece: the document so far


@dataclass(frozen=True)
class MeasureProgress:
    stage: str  # "load", "warm-up", "measure"
    done: int
    total: int
