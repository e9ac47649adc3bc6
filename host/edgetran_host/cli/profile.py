"""`edgetran profile`: latency, energy and peak power of a model on a board, kept with proof."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import attempts_option, json_option, threads_option


@click.command()
@click.option("--target", required=True, help="Board: a catalogue name, an added one, host:port.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    default=None,
    help="Bundle to measure, or the run directory that holds one.",
)
@click.option(
    "--model", type=click.Path(path_type=Path), default=None, help="An ONNX graph to measure."
)
@click.option("--variant", default="", help="Variant of the bundle; default: the board's choice.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="Where to keep the record."
)
@click.option("--runs", type=click.IntRange(1, 200_000), default=None, help="Runs a block.")
@click.option(
    "--blocks",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Timed blocks at least.",
)
@click.option(
    "--max-blocks",
    type=click.IntRange(1, 100),
    default=20,
    show_default=True,
    help="Blocks are added until the interval is narrow enough.",
)
@click.option(
    "--half-width",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Of the median's interval, as a share of it.",
)
@attempts_option
@click.option(
    "--batch-size", type=click.IntRange(1, 256), default=1, show_default=True, help="Rows a run."
)
@click.option(
    "--length",
    type=click.IntRange(1, 4096),
    default=128,
    show_default=True,
    help="Tokens a row, where --model leaves them open.",
)
@threads_option
@json_option
def profile(
    target: str,
    bundle: Path | None,
    model: Path | None,
    variant: str,
    out: Path | None,
    runs: int | None,
    blocks: int,
    max_blocks: int,
    half_width: float,
    attempts: int,
    batch_size: int,
    length: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure a model on a board: steady, interleaved with a reference, judged, kept.

    \b
    Examples:
      edgetran profile --target local --bundle runs/intents-nano-0a1b2c3d
      edgetran profile --target nano --bundle bundle.tar --variant onnxruntime-int8
      edgetran profile --target 10.0.0.7:50051 --model model.onnx --out records/model
    """
    import edgetran

    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.record_table import show_record
    from edgetran_host.measuring.profiling import Request, profile
    from edgetran_host.measuring.subjects import new_directory, subject

    request = Request(
        variant=variant,
        runs=runs or 0,
        blocks=blocks,
        max_blocks=max(blocks, max_blocks),
        half_width=half_width,
        batch_size=batch_size,
        threads=threads or 0,
    )
    with subject(bundle, model, length) as found:
        path = out or new_directory(found.card.name, target)
        with (
            edgetran.connect(target, threads=threads) as board,
            progress(as_json=as_json) as on_progress,
        ):
            done = profile(board, found, request, path, attempts=attempts, on_progress=on_progress)
    show_record(done.record.document, done.path, as_json=as_json)
