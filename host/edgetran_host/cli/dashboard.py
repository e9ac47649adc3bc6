"""`edgetran dashboard`: boards, runs and records as a page on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option
from edgetran_host.cli.runs import runs_option

PORT = 8050


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="On 127.0.0.1; 0: a free one.",
)
@runs_option
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    default=Path("records"),
    show_default=True,
    help="Folder that holds measurement records.",
)
@click.option(
    "--fleet",
    "fleets",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A fleet.toml; may be repeated.",
)
@click.option(
    "--board",
    "boards",
    multiple=True,
    metavar="BOARD",
    help="A name or HOST:PORT; may be repeated. Default: those that were added, and our daemons.",
)
@json_option
def dashboard(
    port: int,
    folder: Path,
    records: Path,
    fleets: tuple[Path, ...],
    boards: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show boards, deployments, runs, records and fleets as a page, as they are now.

    It only reads: no address of it changes anything. It listens on this machine alone; from
    elsewhere: ssh -L 8050:127.0.0.1:8050 THIS-MACHINE.

    \b
    Examples:
      edgetran dashboard
      edgetran dashboard --board kitchen --board 192.0.2.7:50051 --runs runs
      edgetran dashboard --fleet fleet.toml
    """
    from edgetran_protos.errors import UsageError

    from edgetran_host.cli.show import print_json

    try:
        from edgetran_host.dashboard.places import Places
        from edgetran_host.dashboard.serving import serve
        from edgetran_host.dashboard.shelf import Shelf
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the dashboard needs {error.name}", hint="pip install 'edgetran-host[dashboard]'"
        ) from error

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            print(f"dashboard: {address}  (Ctrl-C ends it)")
        sys.stdout.flush()  # who started it in a pipe waits for it

    serve(port, Places(boards), Shelf(folder, records, fleets), ready)
