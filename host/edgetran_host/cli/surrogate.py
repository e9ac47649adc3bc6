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
    help="File to write.",
)


@click.group()
def surrogate() -> None:
    """Foretell latency, energy and peak power from measured designs.

    \b
    Examples:
      edgetran surrogate fit rows.json --out board.json
      edgetran surrogate score board.json other-rows.json --json
      edgetran surrogate show board.json
      edgetran surrogate recalibrate rpi4 five-rows.json --out mine.json
      edgetran surrogate borrow few-rows.json --board nano --out nano.json
      edgetran surrogate plot board.json rows.json --out board.html

    MODEL is a file, or a board whose surrogate comes with edgetran: rpi4, nano:gpu.
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
    from edgetran_host.surrogates.shipped import find_model
    from edgetran_host.surrogates.storing import save
    from edgetran_host.surrogates.surrogate import fit_surrogate

    rows = read_rows(data)
    found = recalibrate(find_model(start), rows) if start else fit_surrogate(rows)
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
    from edgetran_host.surrogates.shipped import find_model
    from edgetran_host.surrogates.storing import save

    found = recalibrate(find_model(model), read_rows(data))
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
    from edgetran_host.surrogates.shipped import find_model

    show_scores(score(find_model(model), read_rows(data)), as_json=as_json)


@surrogate.command()
@model_argument
@json_option
def show(model: str, as_json: bool) -> None:
    """Costs, effects, interval, confidence and learning curve of MODEL."""
    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.shipped import find_model

    show_surrogate(find_model(model), as_json=as_json, costs=True)


@surrogate.command()
@data_argument
@out_option
@click.option("--board", default="", help="Whose datasheet helps: a name of `device list`.")
@json_option
def borrow(data: tuple[Path, ...], out: Path, board: str, as_json: bool) -> None:
    """Start a new board from a few rows, with other boards' costs."""
    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.few_shot import fit_few
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.shipped import datasheet, others_than
    from edgetran_host.surrogates.storing import save

    board_id, unit = datasheet(board)
    found = fit_few(read_rows(data), others_than(board_id), unit)
    save(found, out)
    show_surrogate(found, as_json=as_json)


@surrogate.command()
@model_argument
@data_argument
@out_option
def plot(model: str, data: tuple[Path, ...], out: Path) -> None:
    """A page with predicted against measured and the learning curve."""
    from edgetran_host.surrogates.plots import write_page
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.shipped import find_model

    write_page(find_model(model), read_rows(data), out)
    click.echo(f"wrote {out}")
