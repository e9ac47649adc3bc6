"""`edgetran refine`: grows and prunes the model that a run chose."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option, threads_option
from edgetran_host.cli.runs import runs_option


@click.command()
@click.argument("run", required=False)
@runs_option
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=None,
    help="Steps at most; default: 8, 10 or 60 by the run's effort. More may be asked for later.",
)
@click.option(
    "--importance",
    type=click.Choice(["saliency", "position", "magnitude", "random"]),
    default=None,
    help="By what parts to prune are chosen; all but saliency, the default, are for comparing.",
)
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["growth", "saliency", "distillation", "hardware"]),
    help="Leave a part of the method out, for comparing; may be repeated. Nothing is deployed.",
)
@click.option(
    "--engine",
    default=None,
    help="Where children of a round are trained side by side: local, ray; default: here.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=None,
    help="Children that are trained at a time; alone: on the local engine.",
)
@click.option("--allow-older", is_flag=True, help="Also when the board serves a later bundle.")
@threads_option
@json_option
def refine(
    run: str | None,
    folder: Path,
    rounds: int | None,
    importance: str | None,
    without: tuple[str, ...],
    engine: str | None,
    workers: int | None,
    allow_older: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Grow and prune the model that RUN chose (default: the newest), measuring each step.

    What comes out better than it, within the run's limits, is deployed in its place. Goes on
    from where it stopped when the same command is given again.

    \b
    Examples:
      edgetran refine
      edgetran refine sst-2-nano-0a1b2c3d --rounds 16
      edgetran refine --workers 4 --threads 2
      edgetran refine sst-2-nano-0a1b2c3d --without growth --without distillation
    """
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.result_table import show_result
    from edgetran_host.cli.show_tree import show_tree
    from edgetran_host.job.running import finished_run
    from edgetran_host.refine.efforts import settings
    from edgetran_host.refine.running import Machines, refine_run

    found = finished_run(run, folder)
    config = found.config()
    chosen = settings(
        config.effort,
        prefer=config.prefer,
        rounds=rounds,
        importance=importance,
        without=without,
    )
    machines = Machines(engine or "local", workers or 1) if engine or workers else None
    with progress(as_json=as_json) as on_progress:
        result = refine_run(
            found.path,
            chosen,
            threads=threads,
            machines=machines,
            allow_older=allow_older,
            on_progress=on_progress,
        )
    show_result(result, as_json=as_json)
    if not as_json:
        show_tree(result["refinement"])
