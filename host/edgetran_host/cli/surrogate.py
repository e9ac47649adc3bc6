"""`edgetran surrogate`: what designs will cost on a board, learnt from measured ones."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import json_option

data_argument = click.argument(
    "data", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False)
)
model_argument = click.argument("model")
out_option = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the surrogate to.",
)


@click.group()
def surrogate() -> None:
    """Foretell latency, energy and peak power from measured designs.

    \b
    Examples:
      edgetran surrogate fit rows.json --out board.json
      edgetran surrogate score board.json other-rows.json --json
      edgetran surrogate show board.json
      edgetran surrogate recalibrate board.json five-rows.json --out today.json

    MODEL is a file.
    """


@surrogate.command()
@data_argument
@out_option
@click.option("--start-from", "start", metavar="MODEL", help="Only move MODEL to the new rows.")
@json_option
def fit(data: tuple[Path, ...], out: Path, start: str | None, as_json: bool) -> None:
    """Learn a surrogate from the rows of DATA, files of one board."""
    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.recalibrating import recalibrate
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.storing import load, save
    from edgetran_host.surrogates.surrogate import fit_surrogate

    rows = read_rows(data)
    found = recalibrate(load(Path(start)), rows) if start else fit_surrogate(rows)
    save(found, out)
    show_surrogate(found, as_json=as_json)


@surrogate.command("recalibrate")
@model_argument
@data_argument
@out_option
@json_option
def recalibrate_model(model: str, data: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Move MODEL to a new set-up of its board by a few rows (five are enough)."""
    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.recalibrating import recalibrate
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.storing import load, save

    found = recalibrate(load(Path(model)), read_rows(data))
    save(found, out)
    show_surrogate(found, as_json=as_json)


@surrogate.command("score")
@model_argument
@data_argument
@json_option
def score_model(model: str, data: tuple[Path, ...], as_json: bool) -> None:
    """How well MODEL foretells the rows of DATA."""
    from edgetran_host.cli.surrogate_tables import show_scores
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.scoring import score
    from edgetran_host.surrogates.storing import load

    show_scores(score(load(Path(model)), read_rows(data)), as_json=as_json)


@surrogate.command()
@model_argument
@json_option
def show(model: str, as_json: bool) -> None:
    """Costs, effects, interval, confidence and learning curve of MODEL."""
    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.storing import load

    show_surrogate(load(Path(model)), as_json=as_json, costs=True)
