"""`edgetran runs`: the figures of earlier runs, from their directories."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option

runs_option = click.option(
    "--runs",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder that holds the run directories.",
)


@click.group()
def runs() -> None:
    """Look at what earlier runs found.

    \b
    Examples:
      edgetran runs list
      edgetran runs show intents-nano-0a1b2c3d --json
    """


@runs.command("list")
@runs_option
@json_option
def list_runs(folder: Path, as_json: bool) -> None:
    """Every run: its request and how far it came."""
    from edgetran_host.cli.show import show_runs
    from edgetran_host.job.running import find_runs

    show_runs(find_runs(folder), as_json=as_json)


@runs.command()
@click.argument("run", required=False)
@runs_option
@json_option
def show(run: str | None, folder: Path, as_json: bool) -> None:
    """The final table of RUN (a name or a directory; default: the newest)."""
    from edgetran_host.cli.result_table import show_result
    from edgetran_host.job.running import finished_result

    show_result(finished_result(run, folder), as_json=as_json)
