"""Bundles that visit a board to be measured, and leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgetran import Board
from edgetran_protos.bundle import Bundle

KEPT_STATES = ("serving", "previous")  # slots of the board that need their bundle


@contextmanager
def visiting(board: Board, bundles: Sequence[Bundle]) -> Iterator[None]:
    """Within, the board holds the bundles; afterwards only those it deploys stay."""
    by_digest = {bundle.digest: bundle for bundle in bundles}
    for bundle in by_digest.values():
        board.upload(bundle)
    try:
        yield
    finally:
        found = board.deployments(history=True)
        deployed = {entry.bundle_digest for entry in found if entry.state in KEPT_STATES}
        for digest in by_digest.keys() - deployed:
            board.discard(digest)
