"""What a board answers, as values: the messages of the wire stop at convert.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional


@dataclass(frozen=True)
class RuntimeInfo:
    name: str
    version: str
    unavailable: str  # empty when usable, else the reason


@dataclass(frozen=True)
class SensorInfo:
    name: str
    scope: str  # "board", "rail", "package", "chip and memory", "card"
    rate_hz: float  # new readings a second, at most
    unavailable: str  # empty when it can be read, else the reason
    covers: str  # what exactly it measures
    bandwidth_hz: float  # what changes faster is averaged away
    clock: str  # whose clock stamps a reading
    overhead: str  # what a reading costs the board
    counts_energy: bool  # it adds up joules itself; else watts are integrated
    in_use: bool  # this one measures


@dataclass(frozen=True)
class BoardInfo:
    board: str  # catalogue id
    title: str
    unit: str
    emulated: bool  # True: times, energy and power are modelled
    daemon_version: str
    soc: str
    cpu_count: int
    memory_bytes: int
    threads: int  # a worker's intra-op threads
    host_platform: str  # where the daemon itself runs
    runtimes: tuple[RuntimeInfo, ...]
    sensors: tuple[SensorInfo, ...]
    calibration: str = ""  # of an emulated board: which of its models answers


@dataclass(frozen=True)
class SensorReport:
    """What steps of load showed of a power sensor; None: its readings do not tell."""

    sensor: str
    reasons: tuple[str, ...]  # why it failed; empty when it passed
    idle_w: Optional[float]
    load_w: Optional[float]
    noise_w: Optional[float]  # of a reading of the idle board, one standard deviation
    delay_s: Optional[float]  # of its readings behind the load
    allowed_delay_s: float  # what its bandwidth and rate explain
    rate_hz: float  # new readings a second
    stated_rate_hz: float
    stale_share: float  # of all looks: the hardware had nothing new
    repeated_share: float  # of all readings: the same as the one before
    faults: int  # readings that could not be used

    @property
    def passed(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Prediction:
    label: str  # empty for regression
    score: float  # probability of the label, or the regression value
    scores: Mapping[str, float]  # every label's probability


@dataclass(frozen=True)
class Answer:
    """One batch of predictions with what it took."""

    model: str
    bundle_digest: str
    variant: str
    predictions: tuple[Prediction, ...]
    tokenize_s: float  # clock of the machine the daemon runs on
    infer_s: float  # the same clock, whole batch
    modelled_infer_s: Optional[float]  # the emulated board's, whole batch
    emulated: bool
    calibration: str = ""  # of the modelled figure


@dataclass(frozen=True)
class Quantity:
    value: float
    low: Optional[float]  # bounds of the 95 % interval; None: not known
    high: Optional[float]


@dataclass(frozen=True)
class Measurement:
    """What one board did with one variant of one bundle."""

    bundle_digest: str
    variant: str
    board: str
    unit: str
    modelled: bool  # True: derived from the board's model, not measured
    source: str  # sensor or model that the figures come from
    verdict: str  # "valid", "suspect", "invalid", "modelled"
    reasons: tuple[str, ...]  # why the verdict is not "valid"
    latency_p50_s: Optional[Quantity]
    latency_p95_s: Optional[Quantity]
    latency_p99_s: Optional[Quantity]
    energy_j: Optional[Quantity]  # None: no usable sensor, which is not zero
    peak_power_w: Optional[Quantity]  # None: no usable sensor
    latency_cv: float
    load_s: float
    peak_memory_bytes: int
    artefact_bytes: int
    threads: int
    batch_size: int
    sequence_length: int
    # raw timed runs of the daemon's machine; never modelled
    samples_s: tuple[float, ...] = field(repr=False)
    runs_a_block: int
    runtime: str
    started_unix_s: float
    energy_net_j: Optional[Quantity] = None  # without what the idle board draws meanwhile
    idle_power_w: Optional[float] = None
    calibration: str = ""  # which of the board's models the figures are of, when modelled
    # the whole record as JSON values; `edgetran verify` derives its figures again
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Piece:
    """Raw samples of one subject since its last piece: edgetran_protos.measuring.series."""

    subject: int
    data: bytes = field(repr=False)
    begun: Optional[Mapping[str, Any]]  # with its first piece: the document so far


OnPiece = Callable[[Piece], None]


@dataclass(frozen=True)
class Deployment:
    model: str
    bundle_digest: str
    variant: str
    state: str  # "serving", "unloaded", "previous", "failed", ...
    reason: str
    since_unix_s: float
    artefact_bytes: int
    task: str
    signed_by: str = ""  # whom the board trusted at the deployment; empty: nobody


@dataclass(frozen=True)
class Signer:
    """Somebody whose signatures on bundles a board accepts, or no longer."""

    name: str
    kind: str  # "key" or "certificate"
    fingerprint: str  # SHA-256 of the public key as PEM
    revoked: bool


@dataclass(frozen=True)
class Trusted:
    signers: tuple[Signer, ...]
    required: bool  # the board refuses what none of them signed


@dataclass(frozen=True)
class TelemetrySample:
    """The board at one moment; None: no such sensor."""

    monotonic_s: float
    power_w: Optional[float]
    temperature_c: Optional[float]
    cpu_load: Optional[float]  # 0..1 over all cores
    memory_used_bytes: int
    throttled: Optional[bool]
    clock_hz: Optional[float]
    modelled: bool  # power comes from the board's model


@dataclass(frozen=True)
class LeaseWaiter:
    holder: str
    priority: int
    waited_s: float


@dataclass(frozen=True)
class LeaseState:
    """Who has a board and who waits for it."""

    token: int  # 0: nobody has a lease
    holder: str
    left_s: float  # until it ends, unless it is renewed
    measuring: bool
    waiting: tuple[LeaseWaiter, ...]  # in the order in which they come
