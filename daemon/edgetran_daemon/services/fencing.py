"""Calls that change the board, and the lease they need: a stale token changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

import grpc
from edgetran_protos.errors import UsageError
from edgetran_protos.fencing import LEASE_KEY

from edgetran_daemon.measuring.lease import Leases
from edgetran_daemon.security.roles import DEPLOYMENT, INFERENCE

EXCLUSIVE = {  # refused without a token, too, while another has the board
    f"{DEPLOYMENT}Deploy",
    f"{DEPLOYMENT}Remove",
    f"{INFERENCE}RepositoryModelLoad",
    f"{INFERENCE}RepositoryModelUnload",
}
FENCED = {  # a bad model may be taken back at any time
    f"{DEPLOYMENT}PutBlob",
    f"{DEPLOYMENT}Discard",
    f"{DEPLOYMENT}Rollback",
}

Context = grpc.aio.ServicerContext[Any, Any]
Fence = Callable[[Context], None]


def fence(method: str, leases: Optional[Leases]) -> Optional[Fence]:
    """What raises LeaseLost or BoardBusy before the method's work begins; None: nothing to check.

    Measurements carry their token in the request and are checked for as long as they last.
    """
    if leases is None or method not in EXCLUSIVE | FENCED:
        return None

    known = leases

    def check(context: Context) -> None:
        token = _token(context)
        if token or method in EXCLUSIVE:
            known.fence(token)

    return check


def _token(context: Context) -> int:
    found = dict(context.invocation_metadata() or ()).get(LEASE_KEY, "0")
    try:
        return int(found)
    except ValueError as exc:
        raise UsageError(
            f"{LEASE_KEY} is no number", hint="send the token that AcquireLease gave"
        ) from exc
