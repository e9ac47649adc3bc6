"""`edgetran search`: the best pair of transformer and board, within limits."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from edgetran_host.cli.options import RANDOM_SEED, Finite, json_option, rows_options

if TYPE_CHECKING:  # they bring NumPy and the spaces
    from edgetran_host.cli.search_view import View
    from edgetran_host.cosearch.evaluator import Evaluator
    from edgetran_host.cosearch.search_config import SearchConfig
    from edgetran_host.cosearch.searching import Means, World

OBJECTIVE = "score=0.5,latency=0.2,energy=0.2,peak=0.1"


@click.command()
@click.option("--target", "targets", multiple=True, metavar="A,B", help="Boards; may be repeated.")
@click.option(
    "--data", default="intents", show_default=True, help="Task: folder, hf:NAME, intents."
)
@click.option(
    "--seed", default="minilm", show_default=True, help="Encoder: minilm, folder, hub name."
)
@click.option(
    "--oracle",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Search an assumed truth (.npz) instead of training and measuring.",
)
@click.option("--max-latency", default=None, metavar="40ms", help="Hard limit on every board.")
@click.option("--max-energy", default=None, metavar="300mJ", help="Hard limit per inference.")
@click.option("--max-size", default=None, metavar="20MB", help="Hard limit on the graph.")
@click.option("--max-power", default=None, metavar="5W", help="Hard limit on peak power.")
@click.option(
    "--objective",
    default=OBJECTIVE,
    show_default=True,
    help="Weights of score, latency, energy, peak, size; or: front, all trade-offs.",
)
@click.option(
    "--method",
    default="boshcode",
    show_default=True,
    help="Or local, random, legacy, optuna-tpe, optuna-gp.",
)
@click.option(
    "--legacy", "method", flag_value="legacy", help="--method legacy: the search as published."
)
@click.option("--alpha", type=Finite(0, 1), help="Share of queries by uncertainty.")
@click.option("--beta", type=Finite(0, 1), help="Share of queries by chance.")
@click.option(
    "--space",
    default="",
    metavar="NAME|FILE",
    help="Designs: seed, around the seed; of an oracle flexibert2, or a TOML file.",
)
@click.option(
    "--trials", type=click.IntRange(1), default=60, show_default=True, help="Evaluations at most."
)
@click.option("--trainings", type=Finite(0, min_open=True), help="Full trainings at most.")
@click.option("--time", "time_limit", default=None, metavar="2h", help="Of all starts together.")
@click.option(
    "--finalists",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Of the best, evaluated again at the end, beyond the budgets.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="New evaluations of each finalist.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["transfer", "short", "full"]),
    default=None,
    help="How long a design is trained; default: short, of an oracle full.",
)
@click.option("--promote", is_flag=True, help="Train what may be the best for longer.")
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="quick",
    show_default=True,
    help="What trainings of each fidelity are.",
)
@rows_options
@click.option(
    "--random-seed",
    type=RANDOM_SEED,
    default=0,
    show_default=True,
    help="Of trainings and of what the search draws.",
)
@click.option(
    "--run",
    "run_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Run directory; default: runs/search-<task>-<id>.",
)
@click.option("--storage", default="", metavar="URL", help="Of the study; hosts may share one.")
@click.option("--study", default="", help="Its name there; default: search-<task>-<id>.")
@click.option("--engine", default="local", show_default=True, help="Trainings run on: local, ray.")
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Evaluations at a time.",
)
@click.option("--yes", is_flag=True, help="Do not ask before anything is trained.")
@json_option
def search(targets: tuple[str, ...], as_json: bool, yes: bool, **given: Any) -> None:
    """Find the best pair of transformer and board.

    Runs again from where it stopped when the same command is given again; larger budgets continue.

    \b
    Examples:
      edgetran search --target nano,rpi4,m1 --data path/to/SST-2 --max-latency 40ms
      edgetran search --oracle friendly.npz --target nano,rpi4 --trials 80
      edgetran search --oracle friendly.npz --objective front --method local
    """
    from edgetran_protos.errors import BudgetError

    from edgetran_host.cli.search_table import needed, show_search
    from edgetran_host.cli.search_view import search_view
    from edgetran_host.cosearch.searching import check, run_search

    config = _config(targets, given)
    means = _means(given)
    check(config)
    if config.oracle is None and not (yes or as_json) and _has_a_terminal():
        _ask(config, means)
    with search_view(config.name(), assumed=config.oracle is not None, as_json=as_json) as view:
        world = _world(means, given["engine"], view)
        result = run_search(config, means, world, view.standing)
    show_search(result, as_json=as_json)
    if not as_json:
        print(_draw(config, means, Path(result["run"])))
    if result["blocked"] is not None:
        raise BudgetError("nothing keeps the limits", hint=f"try {needed(result['blocked'])}")


def _draw(config: SearchConfig, means: Means, path: Path) -> Path:
    from edgetran_host.cosearch.oracle import Oracle
    from edgetran_host.cosearch.views.page import write_search_page
    from edgetran_host.cosearch.views.searched import read_search

    oracle = Oracle.load(config.oracle) if config.oracle else None
    return write_search_page(read_search(path, means.storage), path, oracle)


def _has_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # None: it was closed, as by `<&-`


def _ask(config: SearchConfig, means: Means) -> None:
    """Before anything is trained; a search that began goes on without."""
    from edgetran_host.cosearch.searching import REQUEST, run_path

    path = run_path(config, means)
    if not (path / REQUEST).exists():
        trials = f"{means.budget.evaluations} designs"
        click.confirm(
            f"Train and measure up to {trials} on {', '.join(config.targets)}, in {path}?",
            abort=True,
            err=True,
        )


def _world(means: Means, engine: str, view: View) -> World:
    from edgetran_host.cosearch.searching import run_path, storage_url
    from edgetran_host.cosearch.worlds import Machines, assumed_world, real_world
    from edgetran_host.job.running import free_cores

    def world(config: SearchConfig) -> AbstractContextManager[Evaluator]:
        if config.oracle is not None:
            return assumed_world(config)
        threads = max(1, free_cores() // means.parallel)
        machines = Machines(engine, means.parallel, threads)
        folder = run_path(config, means)
        return real_world(
            config, folder / "work", storage_url(config, means), machines, view.progress
        )

    return world


def _config(targets: tuple[str, ...], given: dict[str, Any]) -> SearchConfig:
    from edgetran_protos.errors import UsageError

    from edgetran_host.cosearch.goal import Limits
    from edgetran_host.cosearch.search_config import SearchConfig
    from edgetran_host.job.units import parse

    names = tuple(dict.fromkeys(one.strip() for text in targets for one in text.split(",")))
    if "" in names or not (names or given["oracle"]):
        raise UsageError("which boards?", hint="name them: --target nano,rpi4")

    def limit(kind: str) -> float | None:
        text = given[f"max_{kind}"]
        return None if text is None else parse(kind, text)

    return SearchConfig(
        targets=names,
        limits=Limits(limit("latency"), limit("energy"), limit("power"), limit("size")),
        fidelity=given["fidelity"] or "",
        **{
            name: given[name]
            for name in (
                *("oracle", "data", "seed", "effort", "objective", "space", "method"),
                *("alpha", "beta", "promote", "sequence_length", "train_rows", "random_seed"),
            )
        },
    )


def _means(given: dict[str, Any]) -> Means:
    from edgetran_host.cosearch.finalists import Repeats
    from edgetran_host.cosearch.searching import Means
    from edgetran_host.cosearch.standing import Budget
    from edgetran_host.job.units import parse

    seconds = None if given["time_limit"] is None else parse("time", given["time_limit"])
    return Means(
        Budget(given["trials"], given["trainings"], seconds),
        given["run_path"],
        given["storage"],
        given["study"],
        given["parallel"],
        Repeats(given["finalists"], given["repeats"]),
    )
