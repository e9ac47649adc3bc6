"""Measures one bundle on one board and keeps everything: the document and its raw samples.

A verdict that time may mend (a neighbour, heat, drift) is measured again, at most so often
as was allowed; each attempt keeps a directory of its own. A board that breaks off leaves
what it had sent, with the verdict "invalid" and the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgetran import Board, Measurement, Piece
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import BoardError, EdgeTranError
from edgetran_protos.measuring.document import DocumentError, finished, judge_again
from edgetran_protos.measuring.reasons import INVALID, MODELLED, VALID

from edgetran_host.job.visiting import visiting
from edgetran_host.measuring.record_directory import RecordDirectory, read_pieces

PASSING = {  # reasons that another attempt may not have
    *("latency_scattered", "latency_scattered_widely", "blocks_disagree", "latency_drifted"),
    *("batches_correlated", "interval_too_wide", "runs_paused", "warm_up_not_steady"),
    *("machine_drifted", "throttled", "clock_changed", "temperature_drifted", "clock_stepped"),
    *("waited_for_a_core", "other_work_on_its_cores", "served_requests_meanwhile"),
    *("observer_too_dear", "power_blocks_disagree"),
}


@dataclass(frozen=True)
class Request:
    """Zeros leave the choice to the board."""

    variant: str = ""
    runs: int = 0
    blocks: int = 0
    max_blocks: int = 0
    half_width: float = 0.0
    batch_size: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Profiled:
    record: Measurement
    path: Path
    attempt: int  # 1 was the first


def profile(
    board: Board,
    bundle: Bundle,
    request: Request,
    out: Path,
    *,
    attempts: int = 1,
    on_progress: OnProgress = ignore,
) -> Profiled:
    """The last attempt; those before it lie beside it. Raises EdgeTranError."""
    with visiting(board, [bundle], on_progress):
        for attempt in range(1, attempts + 1):
            path = out if attempt == 1 else out.with_name(f"{out.name}-{attempt}")
            staged = _named(on_progress, attempt)
            record = _measure(board, bundle, request, RecordDirectory.create(path), staged)
            if record.verdict in (VALID, MODELLED) or not set(record.reasons) & PASSING:
                break
    return Profiled(record, path, attempt)


def _measure(
    board: Board,
    bundle: Bundle,
    request: Request,
    kept: RecordDirectory,
    on_progress: OnProgress,
) -> Measurement:
    try:
        (record,) = board.measure(
            [(bundle.digest, request.variant or None)],
            runs=request.runs,
            blocks=request.blocks,
            max_blocks=request.max_blocks,
            half_width=request.half_width,
            batch_size=request.batch_size,
            threads=request.threads,
            on_piece=_keeping(kept),
            on_progress=on_progress,
        )
    except EdgeTranError as error:
        if kept.begun:
            close_broken(kept)
            raise BoardError(
                f"the measurement broke off: {error}",
                hint=f"what came before is in {kept.path}; {error.hint or 'measure again'}",
            ) from error
        kept.path.rmdir()
        raise
    except BaseException:  # Ctrl-C: what is there stays, and says what it is
        if kept.begun:
            close_broken(kept)
        else:
            kept.path.rmdir()
        raise
    kept.finish(record.document)
    return record


def close_broken(kept: RecordDirectory) -> None:
    """Judges what there is; without a timed block there are no figures."""
    document = kept.document
    document["asked"] = {**document["asked"], "complete": False}
    pieces = read_pieces(kept.path, document["samples"])
    named = [(entry["digest"], entry["size_bytes"]) for entry in document["samples"]]
    try:
        kept.finish(finished(document, named, judge_again(document, pieces)))
    except DocumentError:
        bare = {**document, "verdict": INVALID, "reasons": ["broke_off", "too_few_samples"]}
        kept.finish(bare)


def _keeping(kept: RecordDirectory) -> Callable[[Piece], None]:
    return lambda piece: kept.add(piece.data, piece.begun)


def _named(on_progress: OnProgress, attempt: int) -> OnProgress:
    """Stages of a further attempt are not those of the one before."""
    if attempt == 1:
        return on_progress

    def listen(event: Progress) -> None:
        stage = f"{event.stage} (attempt {attempt})"
        on_progress(Progress(stage, event.done, event.total, event.detail))

    return listen
