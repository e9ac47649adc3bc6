"""What one check of a server came to."""

from __future__ import annotations

from dataclasses import dataclass

PASSED, FAILED, NOT_OFFERED = "passed", "failed", "not offered"


class Deviation(Exception):
    """The server does otherwise than the protocol says."""


class NotOffered(Exception):
    """The server, or this model, lacks what the check is about."""


@dataclass(frozen=True)
class Outcome:
    check: str
    verdict: str  # PASSED, FAILED or NOT_OFFERED
    detail: str  # what the check asks for, or what was found instead


def ask(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Deviation(otherwise)
