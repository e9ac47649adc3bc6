"""The metadata by which a call says under which lease it changes the board."""

from __future__ import annotations

from typing import Tuple

LEASE_KEY = "edgetran-lease"  # its value: the lease's token in decimal digits


def lease_metadata(token: int) -> Tuple[Tuple[str, str], ...]:
    """Nothing without a lease (0)."""
    return ((LEASE_KEY, str(token)),) if token else ()
