"""The error tree both ends share.

EdgeTranError
├── UsageError            the user asked for something that cannot be
│   ├── UnknownTarget     no such board in the catalogue or the address book
│   ├── DataError         a task's data file is missing or malformed
│   ├── ArchitectureError an architecture breaks a rule of the space
│   ├── BudgetError       no design can meet the limits
│   ├── UnknownRegion     no shared memory is registered, or none exists, under that name
│   └── RegionTaken       shared memory is registered under that name already
├── BoardError            the board or the way to it
│   ├── BoardUnreachable  nobody answers at the address
│   ├── BoardBusy         a queue is full, or another has a lease
│   ├── LeaseLost         a lease ended, and another may have the board
│   ├── PortInUse         the daemon cannot listen there
│   ├── SensorUnusable    no power sensor can be read, or not the one that was named
│   ├── NotPermitted      the role that the board gave this client does not go so far
│   ├── NotOffered        this daemon does not have that, or not for this client
│   └── DiskFull          no room left for blobs
├── BundleError           the bundle is not what it should be
│   ├── BundleCorrupt     bytes do not match their digest
│   ├── BundleMissing     blobs named by the manifest are not on the board
│   ├── UnknownVariant    the bundle has no such variant
│   ├── OlderBundle       a newer one was committed under the name
│   └── BundleUntrusted   nobody signed it whom this machine trusts, or not as it is now
├── ModelError            serving a model
│   ├── UnknownModel      nothing is deployed under that name
│   ├── ModelUnloaded     deployed, but not served until it is loaded again
│   ├── InputError        tensors or texts do not fit the model
│   ├── ProbeFailed       a new model failed its probe; the old one serves on
│   ├── CanaryFailed      it did worse than promised beside the old one, which serves on
│   ├── RolledBack        it did worse than promised after the switch; the old one is back
│   ├── ModelDown         the model's process died, or is being started again
│   └── RuntimeFault      the runtime failed while loading or running
│       └── RunOverdue    a run took too long, and its process was ended
└── ExportError           the exported graph does not agree with the model

Over gRPC an error travels as its status plus two trailing metadata entries,
`edgetran-error` (the class name) and `edgetran-hint-bin`.
"""

from __future__ import annotations

from typing import Mapping, Optional, Sequence, Tuple, Type

import grpc

ERROR_KEY = "edgetran-error"
HINT_KEY = "edgetran-hint-bin"  # binary: hints may hold any text
MOST_HINT_BYTES = 3000  # a third more as it travels: in headers, which clients limit to 8 KiB


class EdgeTranError(Exception):
    """Base of everything edgetran raises on purpose; `hint` says what to do next."""

    status = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(EdgeTranError):
    status = grpc.StatusCode.INVALID_ARGUMENT


class UnknownTarget(UsageError):
    status = grpc.StatusCode.NOT_FOUND


class DataError(UsageError):
    pass


class ArchitectureError(UsageError):
    pass


class BudgetError(UsageError):
    status = grpc.StatusCode.FAILED_PRECONDITION


class UnknownRegion(UsageError):
    status = grpc.StatusCode.NOT_FOUND


class RegionTaken(UsageError):
    status = grpc.StatusCode.ALREADY_EXISTS


class BoardError(EdgeTranError):
    status = grpc.StatusCode.UNAVAILABLE


class BoardUnreachable(BoardError):
    pass


class BoardBusy(BoardError):
    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class LeaseLost(BoardError):
    status = grpc.StatusCode.FAILED_PRECONDITION


class PortInUse(BoardError):
    status = grpc.StatusCode.ALREADY_EXISTS


class SensorUnusable(BoardError):
    status = grpc.StatusCode.FAILED_PRECONDITION


class NotPermitted(BoardError):
    status = grpc.StatusCode.PERMISSION_DENIED


class NotOffered(BoardError):
    status = grpc.StatusCode.UNIMPLEMENTED


class DiskFull(BoardError):
    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class BundleError(EdgeTranError):
    status = grpc.StatusCode.INVALID_ARGUMENT


class BundleCorrupt(BundleError):
    status = grpc.StatusCode.DATA_LOSS


class BundleMissing(BundleError):
    status = grpc.StatusCode.FAILED_PRECONDITION


class UnknownVariant(BundleError):
    status = grpc.StatusCode.NOT_FOUND


class OlderBundle(BundleError):
    status = grpc.StatusCode.FAILED_PRECONDITION


class BundleUntrusted(BundleError):
    status = grpc.StatusCode.PERMISSION_DENIED


class ModelError(EdgeTranError):
    status = grpc.StatusCode.FAILED_PRECONDITION


class UnknownModel(ModelError):
    status = grpc.StatusCode.NOT_FOUND


class ModelUnloaded(ModelError):
    status = grpc.StatusCode.UNAVAILABLE


class InputError(ModelError):
    status = grpc.StatusCode.INVALID_ARGUMENT


class ProbeFailed(ModelError):
    status = grpc.StatusCode.ABORTED


class CanaryFailed(ModelError):
    status = grpc.StatusCode.ABORTED


class RolledBack(ModelError):
    status = grpc.StatusCode.ABORTED


class ModelDown(ModelError):
    status = grpc.StatusCode.UNAVAILABLE


class RuntimeFault(ModelError):
    status = grpc.StatusCode.INTERNAL


class RunOverdue(RuntimeFault):
    pass


class ExportError(EdgeTranError):
    status = grpc.StatusCode.INTERNAL


def _tree(root: Type[EdgeTranError]) -> Mapping[str, Type[EdgeTranError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


BY_NAME: Mapping[str, Type[EdgeTranError]] = _tree(EdgeTranError)


def to_trailers(error: EdgeTranError) -> Tuple[Tuple[str, "str | bytes"], ...]:
    """The trailing metadata that carries an error's name and hint."""
    hint = error.hint.encode()[:MOST_HINT_BYTES].decode(errors="ignore")  # whole characters
    return ((ERROR_KEY, type(error).__name__), (HINT_KEY, hint.encode()))


def from_trailers(
    details: str, trailers: Optional[Sequence[Tuple[str, "str | bytes"]]]
) -> Optional[EdgeTranError]:
    """The error that trailing metadata describes; None when it names none of ours."""
    found = dict(trailers or ())
    kind = BY_NAME.get(str(found.get(ERROR_KEY, "")))
    if kind is None:
        return None
    hint = found.get(HINT_KEY, b"")
    return kind(details, hint=hint.decode() if isinstance(hint, bytes) else str(hint))
