"""`edgetran campaign`: many designs on several boards, for surrogates to learn from."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import attempts_option, json_option, patience_option


@click.command()
@click.option("--target", "targets", multiple=True, required=True, help="Board; may be repeated.")
@click.option("--designs", required=True, metavar="N|FILE", help="How many to draw, or a list.")
@click.option(
    "--campaign",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that keeps the plan and all records.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn designs.")
@click.option(
    "--length", type=click.IntRange(1, 4096), default=128, show_default=True, help="Tokens a row."
)
@click.option("--runs", type=click.IntRange(1, 200_000), default=None, help="Runs a block.")
@click.option(
    "--blocks",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Timed blocks of a design.",
)
@attempts_option
@click.option(
    "--batch-size", type=click.IntRange(1, 256), default=1, show_default=True, help="Rows a run."
)
@patience_option
@json_option
def campaign(
    targets: tuple[str, ...],
    designs: str,
    folder: Path,
    seed: int,
    length: int,
    runs: int | None,
    blocks: int,
    attempts: int,
    batch_size: int,
    patience_s: float,
    as_json: bool,
) -> None:
    """Measure designs on several boards at a time; the same command continues it.

    \b
    Examples:
      edgetran campaign --target nano --target kitchen --designs 40 --campaign runs/lab
      edgetran surrogate fit runs/lab/data/nano.json --out nano-surrogate.json
    """
    from edgetran_host.campaign.plan import Plan, designs_of, settle
    from edgetran_host.campaign.running import run, unfinished
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show import show_campaign
    from edgetran_host.measuring.profiling import Request

    request = Request(runs=runs or 0, blocks=blocks, max_blocks=blocks, batch_size=batch_size)
    boards = tuple(dict.fromkeys(targets))
    plan = Plan(boards, designs_of(designs, seed), length, request, attempts)
    settle(plan, folder)
    with progress(as_json=as_json) as on_progress:
        outcomes = run(plan, folder, on_progress, patience_s)
    show_campaign(outcomes, as_json=as_json)
    error = unfinished(outcomes)
    if error is not None:
        raise error
