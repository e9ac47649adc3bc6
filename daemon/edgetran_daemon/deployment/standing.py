"""What a record of a deployment says now: the ledger knows plans, not processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from edgetran_daemon.deployment.ledger import FAILED, SERVING, Record
from edgetran_daemon.serving.served_model import ServedModel


def standing(record: Record, served: Optional[ServedModel]) -> Record:
    """What should serve but could not be started again does not serve."""
    if record.state != SERVING:
        return record
    if served is None:
        return replace(record, state=FAILED, reason="it could not be started again")
    if served.state.trouble:
        return replace(record, reason=served.state.trouble)
    return record
