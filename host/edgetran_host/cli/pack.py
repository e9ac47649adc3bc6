"""`edgetran pack`: the bundle of a finished run, once more, wherever it is wanted."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option
from edgetran_host.cli.runs import runs_option


@click.command()
@click.argument("run", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A .tar, or a folder; what is there is replaced when the new one is whole.",
)
@runs_option
@json_option
def pack(run: str | None, out: Path, folder: Path, as_json: bool) -> None:
    """Put the bundle of RUN (a name or a directory; default: the newest) together again.

    The same run gives the same digest, at any time and on any machine.

    \b
    Examples:
      edgetran pack --out intents.tar
      edgetran pack intents-nano-0a1b2c3d --out intents.tar
    """
    from edgetran_host.cli.show_bundle import show_checked
    from edgetran_host.inspecting import check, describe
    from edgetran_host.job.releasing import pack_run
    from edgetran_host.job.running import finished_run

    packed = pack_run(finished_run(run, folder).path, out)
    show_checked(describe(check(packed.path)), (), as_json=as_json)
