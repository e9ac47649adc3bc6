"""Bundles that visit a board to be measured, under a lease, and leave it as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress

from edgetran import Board
from edgetran.progress import OnProgress, ignore
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardBusy, EdgeTranError

KEPT_STATES = ("serving", "previous")  # slots of the board that need their bundle
PATIENCE_S = 5.0  # for a measurement that was broken off to let its bundle go
LOOK_S = 0.1


@contextmanager
def visiting(
    board: Board, bundles: Sequence[Bundle], on_progress: OnProgress = ignore
) -> Iterator[None]:
    """Within, the board is ours and holds the bundles; afterwards only those it deploys stay.

    While another has the board this waits in its queue and says so.
    """
    by_digest = {bundle.digest: bundle for bundle in bundles}
    own = nullcontext() if board.lease_token else board.lease(wait=True, on_progress=on_progress)
    try:
        with own:
            for bundle in by_digest.values():
                board.upload(bundle)
            yield
    except BaseException:
        with suppress(EdgeTranError):  # what went wrong first is what the user must hear
            _take_off(board, set(by_digest))
        raise
    _take_off(board, set(by_digest))


def _take_off(board: Board, digests: set[str]) -> None:
    found = board.deployments(history=True)
    deployed = {entry.bundle_digest for entry in found if entry.state in KEPT_STATES}
    for digest in digests - deployed:
        _discard(board, digest)


def _discard(board: Board, digest: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            board.discard(digest)
            return
        except BoardBusy:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(LOOK_S)
