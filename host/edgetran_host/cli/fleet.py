"""`edgetran fleet`: how a rollout stands; on with it, or back."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from edgetran.progress import OnProgress, Progress

from edgetran_host.cli.fleet_options import pace_options
from edgetran_host.cli.options import json_option

if TYPE_CHECKING:
    from edgetran_host.fleet.fleet_file import Fleet
    from edgetran_host.fleet.plan import Pace

fleet_argument = click.argument(
    "path", metavar="FLEET", type=click.Path(path_type=Path, dir_okay=False)
)


@click.group()
def fleet() -> None:
    """How a rollout to many boards stands; on with it, or back.

    \b
    Examples:
      edgetran deploy --fleet fleet.toml --bundle bundle.tar --waves 1,10%,100%
      edgetran fleet status fleet.toml
      edgetran fleet resume fleet.toml --follow
      edgetran fleet rollback fleet.toml --reason "wrong labels"
      edgetran fleet rows fleet.toml --out rows
    """


@fleet.command()
@fleet_argument
@click.option("--ask", is_flag=True, help="Ask every board first what it serves now.")
@pace_options
@json_option
def status(path: Path, ask: bool, at_once: int, patience_s: float, as_json: bool) -> None:
    """Each board of FLEET: what was promised, what it delivers, how it ended.

    \b
    Examples:
      edgetran fleet status fleet.toml
      edgetran fleet status fleet.toml --ask --json
    """
    from edgetran_host.cli.fleet_tables import show_fleet
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.plan import Pace
    from edgetran_host.fleet.reporting import report
    from edgetran_host.fleet.running import look_back

    found = read_fleet(path)
    if ask:
        with telling(as_json=as_json) as on_progress:
            look_back(found, Pace(at_once=at_once, patience_s=patience_s), on_progress)
    show_fleet(report(found), as_json=as_json)


@fleet.command()
@fleet_argument
@click.option("--again", is_flag=True, help="Also boards that refused or were taken back.")
@click.option("--follow", is_flag=True, help="Stay until no board is missing.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), default=None, help="Where the bundle is now."
)
@pace_options
@json_option
def resume(
    path: Path,
    again: bool,
    follow: bool,
    bundle: Path | None,
    at_once: int,
    patience_s: float,
    as_json: bool,
) -> None:
    """On with the last rollout: broken-off work, boards that were away, boards that are new.

    \b
    Examples:
      edgetran fleet resume fleet.toml
      edgetran fleet resume fleet.toml --again --follow
    """
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.plan import Pace
    from edgetran_host.fleet.running import resume as go_on

    found, pace = read_fleet(path), Pace(at_once=at_once, patience_s=patience_s)
    with telling(as_json=as_json) as on_progress:
        go_on(found, pace, on_progress, again=again, bundle=bundle)
    finished(found, pace, follow=follow, as_json=as_json)


@fleet.command()
@fleet_argument
@click.option(
    "--reason",
    default="taken back by hand",
    show_default=True,
    help="What the fleet's report says of it.",
)
@pace_options
@json_option
def rollback(path: Path, reason: str, at_once: int, patience_s: float, as_json: bool) -> None:
    """Take back all that the last rollout to FLEET changed.

    \b
    Examples:
      edgetran fleet rollback fleet.toml --reason "wrong labels"
    """
    from edgetran_host.cli.fleet_tables import show_fleet
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.plan import Pace
    from edgetran_host.fleet.reporting import report
    from edgetran_host.fleet.running import rollback as take_back

    found = read_fleet(path)
    with telling(as_json=as_json) as on_progress:
        take_back(found, Pace(at_once=at_once, patience_s=patience_s), on_progress, reason)
    show_fleet(report(found), as_json=as_json)


@fleet.command()
@fleet_argument
@click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write a file a kind of board to.",
)
@json_option
def rows(path: Path, folder: Path, as_json: bool) -> None:
    """What the boards of FLEET delivered, as rows that `edgetran surrogate` learns from.

    \b
    Examples:
      edgetran fleet rows fleet.toml --out rows
      edgetran surrogate recalibrate nano rows/jetson-nano-cpu.json --out mine.json
    """
    from edgetran_host.cli.fleet_tables import show_rows
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.flowing_back import write_rows

    show_rows(write_rows(read_fleet(path), folder), as_json=as_json)


def finished(fleet: Fleet, pace: Pace, *, follow: bool, as_json: bool) -> None:
    """The table; then, where boards are missing, their wait or the command's failure."""
    from edgetran_host.cli.fleet_tables import show_fleet
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.reporting import report
    from edgetran_host.fleet.running import FOLLOW_S, missing, unfinished
    from edgetran_host.fleet.running import resume as go_on

    while follow and missing(fleet):
        with telling(as_json=as_json) as on_progress:
            on_progress(Progress("waiting", 0, 1, f"{len(missing(fleet))} boards are missing"))
            time.sleep(FOLLOW_S)
            fleet = read_fleet(fleet.path)
            go_on(fleet, pace, on_progress)
    show_fleet(report(fleet), as_json=as_json)
    error = unfinished(fleet)
    if error is not None:
        raise error


@contextlib.contextmanager
def telling(*, as_json: bool) -> Iterator[OnProgress]:
    """A log hears of waves; a terminal also sees each board that is under way."""
    from edgetran_host.cli.progress import progress

    boards_too = as_json or sys.stderr.isatty()
    with progress(as_json=as_json) as on_progress:

        def listen(event: Progress) -> None:
            if boards_too or not event.stage.startswith(" "):
                on_progress(event)

        yield listen
