"""`edgetran explain`: why a search holds a design for good, and what a looser limit would buy."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option, storage_option
from edgetran_host.cli.runs import runs_option


@click.command()
@click.argument("run", required=False)
@click.argument("trial", type=click.IntRange(0), required=False)
@runs_option
@storage_option
@json_option
def explain(run: str | None, trial: int | None, folder: Path, storage: str, as_json: bool) -> None:
    """Explain TRIAL of the search RUN (default: the chosen pair of the newest search).

    Its figures against the limits, its rivals, which layers cost what, where it came from, and
    what the search's models think of one more step and of looser limits.

    \b
    Examples:
      edgetran explain
      edgetran explain runs/search-oracle-friendly-0a1b2c3d 17
    """
    from dataclasses import asdict

    from edgetran_protos.errors import UsageError

    from edgetran_host.cli.show import print_json
    from edgetran_host.cli.show_explanation import show_explanation
    from edgetran_host.cosearch.views.explaining import explain as explained
    from edgetran_host.cosearch.views.finding import find_search
    from edgetran_host.cosearch.views.searched import read_search

    searched = read_search(find_search(run, folder), storage)
    entry = searched.chosen if trial is None else searched.entry(trial)
    if entry is None:
        raise UsageError(
            "no trial keeps the limits yet", hint="name one: edgetran explain RUN TRIAL"
        )
    found = explained(searched, entry)
    if as_json:
        print_json(asdict(found))
    else:
        show_explanation(found, searched)
