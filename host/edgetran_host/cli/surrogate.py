"""`edgetran surrogate`: what designs will cost on a board, learnt from measured ones."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from edgetran_host.cli.options import attempts_option, json_option, patience_option

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

    MODEL is a file, or a board whose surrogate comes with edgetran: rpi4, nano:gpu.

    \b
    Examples:
      edgetran surrogate learn --target nano --budget 40 --out nano.json
      edgetran surrogate fit rows.json --out board.json
      edgetran surrogate score board.json other-rows.json --json
      edgetran surrogate show board.json
      edgetran surrogate recalibrate rpi4 five-rows.json --out mine.json
      edgetran surrogate borrow few-rows.json --board nano --out nano.json
      edgetran surrogate plot board.json rows.json --out board.html
    """


@surrogate.command()
@click.option("--target", required=True, help="Board to measure on.")
@click.option(
    "--budget",
    type=click.IntRange(5, 250),
    default=40,
    show_default=True,
    help="Designs to measure at most.",
)
@click.option(
    "--max-error",
    "most_error",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Stop when latency is foretold this well, out of fold and less luck.",
)
@out_option
@click.option(
    "--campaign",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="What is measured is kept here; default: beside --out, with .learning.",
)
@click.option(
    "--space",
    "space_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Design space, TOML; default: FlexiBERT 2.0.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the candidates.")
@click.option("--runs", type=click.IntRange(1, 200_000), default=None, help="Runs a block.")
@click.option(
    "--blocks",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Timed blocks of a design.",
)
@attempts_option
@patience_option
@json_option
def learn(
    target: str,
    budget: int,
    most_error: float,
    out: Path,
    folder: Path | None,
    space_file: Path | None,
    seed: int,
    runs: int | None,
    blocks: int,
    attempts: int,
    patience_s: float,
    as_json: bool,
) -> None:
    """Measure the designs that teach most, until few doubts are left; the same command continues.

    \b
    Examples:
      edgetran surrogate learn --target nano --budget 40 --out nano.json
      edgetran surrogate learn --target local --max-error 0.1 --runs 20 --out here.json
    """
    from edgetran_host.campaign.plan import Plan
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.surrogate_tables import show_learnt
    from edgetran_host.learning.candidates import candidates
    from edgetran_host.learning.learning import learn
    from edgetran_host.measuring.profiling import Request
    from edgetran_host.space.design_space import DesignSpace
    from edgetran_host.surrogates.storing import save
    from edgetran_host.surrogates.terms import SEQUENCE_LENGTH

    space = DesignSpace.load(space_file) if space_file else DesignSpace.flexibert2()
    request = Request(runs=runs or 0, blocks=blocks, max_blocks=blocks, batch_size=1)
    plan = Plan((target,), candidates(space, seed), SEQUENCE_LENGTH, request, attempts)
    kept = folder or out.with_suffix(".learning")
    with progress(as_json=as_json) as on_progress:
        found = learn(plan, kept, budget, most_error, seed, on_progress, patience_s)
    save(found.surrogate, out)
    show_learnt(found, as_json=as_json)


@surrogate.command()
@data_argument
@out_option
@click.option("--start-from", "start", metavar="MODEL", help="Only move MODEL to the new rows.")
@json_option
def fit(data: tuple[Path, ...], out: Path, start: str | None, as_json: bool) -> None:
    """Learn a surrogate from the rows of DATA, files of one board.

    \b
    Examples:
      edgetran surrogate fit rows.json --out board.json
      edgetran surrogate fit new-rows.json --start-from board.json --out board.json
    """
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
    """Move MODEL to a new set-up of its board by a few rows (five are enough).

    \b
    Examples:
      edgetran surrogate recalibrate rpi4 five-rows.json --out mine.json
    """
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
    """How well MODEL foretells the rows of DATA.

    \b
    Examples:
      edgetran surrogate score board.json other-rows.json
      edgetran surrogate score nano:gpu rows.json --json
    """
    from edgetran_host.cli.surrogate_tables import show_scores
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.scoring import score
    from edgetran_host.surrogates.shipped import find_model

    show_scores(score(find_model(model), read_rows(data)), as_json=as_json)


@surrogate.command()
@model_argument
@json_option
def show(model: str, as_json: bool) -> None:
    """Costs, effects, interval, confidence and learning curve of MODEL.

    \b
    Examples:
      edgetran surrogate show rpi4
      edgetran surrogate show board.json
    """
    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.shipped import find_model

    show_surrogate(find_model(model), as_json=as_json, costs=True)


@surrogate.command()
@click.argument("data", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@out_option
@click.option("--board", default="", help="Whose datasheet helps: a name of `device list`.")
@json_option
def borrow(data: tuple[Path, ...], out: Path, board: str, as_json: bool) -> None:
    """Start a new board from a few rows, with other boards' costs; from none, with --board.

    \b
    Examples:
      edgetran surrogate borrow few-rows.json --board nano --out nano.json
      edgetran surrogate borrow --board nano --out nano.json
    """
    from edgetran_protos.errors import UsageError

    from edgetran_host.cli.surrogate_tables import show_surrogate
    from edgetran_host.surrogates.few_shot import fit_few, fit_none
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.shipped import (
        datasheet,
        datasheets,
        others_than,
        others_with_datasheets,
    )
    from edgetran_host.surrogates.storing import save
    from edgetran_host.surrogates.terms import ARCHITECTURE_TERMS

    board_id, unit = datasheet(board)
    if data:
        found = fit_few(read_rows(data), others_than(board_id), datasheets())
    elif unit is not None:
        found = fit_none(tuple(ARCHITECTURE_TERMS), others_with_datasheets(board_id), unit)
    else:
        raise UsageError(
            "without rows a datasheet is needed", hint="give rows, or --board of `device list`"
        )
    save(found, out)
    show_surrogate(found, as_json=as_json)


@surrogate.command()
@model_argument
@data_argument
@out_option
def plot(model: str, data: tuple[Path, ...], out: Path) -> None:
    """A page: predicted against measured, the learning curve, latency over depth and width.

    \b
    Examples:
      edgetran surrogate plot board.json rows.json --out board.html
    """
    from edgetran_host.surrogates.contours import designs_of
    from edgetran_host.surrogates.plots import write_page
    from edgetran_host.surrogates.rows import read_rows
    from edgetran_host.surrogates.shipped import find_model

    rows = read_rows(data)
    write_page(find_model(model), rows, out, designs_of(data))
    click.echo(f"wrote {out}")
