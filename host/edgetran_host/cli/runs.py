"""`edgetran runs`: the figures of earlier runs, from their directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click
from edgetran_protos.errors import UsageError

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
    """Every run, search and pre-training: its request and how far it came.

    \b
    Examples:
      edgetran runs list
      edgetran runs list --runs other/runs --json
    """
    from edgetran_host.cli.show import show_runs
    from edgetran_host.job.running import find_runs

    found = [*find_runs(folder), *_searches(folder), *_pretrainings(folder)]
    show_runs(found, as_json=as_json)


@runs.command()
@click.argument("run", required=False)
@runs_option
@json_option
def show(run: str | None, folder: Path, as_json: bool) -> None:
    """The final table of RUN (a name or a directory; default: the newest), or a search's.

    \b
    Examples:
      edgetran runs show
      edgetran runs show intents-nano-0a1b2c3d --json
    """
    from edgetran_host.cli.result_table import show_result
    from edgetran_host.job.running import finished_result

    if run and _show_pretraining(run, folder, as_json=as_json):
        return
    found = _search_result(run, folder) if run else None
    if found is None:
        show_result(finished_result(run, folder), as_json=as_json)
        return
    from edgetran_host.cli.search_table import show_search

    show_search(found, as_json=as_json)


def _searches(folder: Path) -> list[dict[str, Any]]:
    if not any(folder.glob("*/search.json")):
        return []  # and nothing is loaded for them
    from edgetran_host.cosearch.views.finding import find_searches

    return find_searches(folder)


def _pretrainings(folder: Path) -> list[dict[str, Any]]:
    if not any(folder.glob("*/pretraining.json")):
        return []
    from edgetran_host.pretraining.finding import find_pretrainings

    return find_pretrainings(folder)


def _show_pretraining(run: str, folder: Path, *, as_json: bool) -> bool:
    """Whether it is one. Raises UsageError when it has not ended."""
    for path in (Path(run), folder / run):
        if (path / "pretraining.json").exists():
            from edgetran_host.cli.show_pretraining import show_pretraining
            from edgetran_host.pretraining.finding import pretraining_result

            show_pretraining(path, pretraining_result(path), as_json=as_json)
            return True
    return False


def _search_result(run: str, folder: Path) -> dict[str, Any] | None:
    """None: it is no search. Raises UsageError when it has not ended."""
    for path in (Path(run), folder / run):
        if (path / "search.json").exists():
            if not (path / "result.json").exists():
                raise UsageError(
                    f"{path} is not finished", hint="give the same `edgetran search` again"
                )
            from edgetran_host.job.run_directory import read_json

            return {**read_json(path / "result.json"), "run": str(path)}
    return None
