"""Talk to boards that run edgetran-daemon."""

from edgetran_protos.bundle import Bundle

from edgetran.addresses import AddressBook
from edgetran.asynchronous import AsyncBoard
from edgetran.board import Board
from edgetran.connect import connect, connect_async
from edgetran.errors import (
    ArchitectureError,
    BoardBusy,
    BoardError,
    BoardUnreachable,
    BudgetError,
    BundleCorrupt,
    BundleError,
    BundleMissing,
    DataError,
    DiskFull,
    EdgeTranError,
    ExportError,
    InputError,
    ModelError,
    PortInUse,
    ProbeFailed,
    RuntimeFault,
    UnknownModel,
    UnknownTarget,
    UnknownVariant,
    UsageError,
)
from edgetran.progress import OnProgress, Progress
from edgetran.results import (
    Answer,
    BoardInfo,
    Deployment,
    Measurement,
    Prediction,
    Quantity,
    RuntimeInfo,
    SensorInfo,
    TelemetrySample,
)

__all__ = [
    "AddressBook",
    "Answer",
    "ArchitectureError",
    "AsyncBoard",
    "Board",
    "BoardBusy",
    "BoardError",
    "BoardInfo",
    "BoardUnreachable",
    "BudgetError",
    "Bundle",
    "BundleCorrupt",
    "BundleError",
    "BundleMissing",
    "DataError",
    "Deployment",
    "DiskFull",
    "EdgeTranError",
    "ExportError",
    "InputError",
    "Measurement",
    "ModelError",
    "OnProgress",
    "PortInUse",
    "Prediction",
    "ProbeFailed",
    "Progress",
    "Quantity",
    "RuntimeFault",
    "RuntimeInfo",
    "SensorInfo",
    "TelemetrySample",
    "UnknownModel",
    "UnknownTarget",
    "UnknownVariant",
    "UsageError",
    "connect",
    "connect_async",
]
