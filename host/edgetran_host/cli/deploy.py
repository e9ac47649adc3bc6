"""`edgetran deploy`: the main job, or a bundle that exists already."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import rich_click as click
from click import get_current_context
from click.core import ParameterSource
from edgetran.progress import OnProgress

from edgetran_host.cli.bundle_transfer import insecure_option
from edgetran_host.cli.fleet_options import RolloutOptions, rollout_options
from edgetran_host.cli.options import RANDOM_SEED, Finite, json_option, rows_options, threads_option

OF_A_SEARCH = (  # options that say nothing of a bundle that exists already
    *("data", "seed", "effort", "prefer", "refine_rounds", "max_accuracy_cost"),
    *("max_latency", "max_energy", "max_size", "max_power"),
    *("run_path", "sequence_length", "train_rows", "random_seed"),
)
OF_A_FLEET = {field.name for field in dataclasses.fields(RolloutOptions)}


@click.command()
@click.option("--target", default="", help="Board: a catalogue name, an added one, host:port.")
@click.option(
    "--data", default="intents", show_default=True, help="Task: folder, hf:NAME, intents."
)
@click.option(
    "--seed", default="minilm", show_default=True, help="Encoder: minilm, folder, hub name."
)
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="quick",
    show_default=True,
    help="How much training and searching to pay for.",
)
@click.option("--max-latency", default=None, metavar="40ms", help="Hard limit on the target (p50).")
@click.option("--max-energy", default=None, metavar="300mJ", help="Hard limit per inference.")
@click.option("--max-size", default=None, metavar="20MB", help="Hard limit on graph + tokenizer.")
@click.option("--max-power", default=None, metavar="5W", help="Hard limit on peak power.")
@click.option(
    "--max-accuracy-cost",
    type=Finite(0, 100),
    default=None,
    metavar="POINTS",
    help="Points of the score that 8 bits or another runtime may lose; default: 1, or what the "
    "searched graph loses.",
)
@click.option(
    "--refine-rounds",
    type=click.IntRange(0),
    default=None,
    help="Steps that grow and prune what the search chose; default: 0, 10 or 60 by the effort.",
)
@click.option(
    "--prefer",
    type=click.Choice(["accuracy", "balance", "speed"]),
    default="balance",
    show_default=True,
    help="Within the limits: a point of the score weighs as much as 28, 2 or 1.25 times as fast.",
)
@click.option(
    "--bundle",
    default=None,
    metavar="FILE",
    help="Deploy this bundle: a file, or oci://HOST/NAME:TAG.",
)
@insecure_option
@click.option("--allow-older", is_flag=True, help="Also a bundle older than what served before.")
@click.option("--name", default="", help="Name to serve under; default: the task's.")
@click.option(
    "--run",
    "run_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Run directory; default: runs/<task>-<target>-<id>.",
)
@rows_options
@click.option(
    "--random-seed",
    type=RANDOM_SEED,
    default=0,
    show_default=True,
    help="Of row order, new weights and the search's draws.",
)
@rollout_options
@threads_option
@json_option
def deploy(
    target: str,
    data: str,
    seed: str,
    effort: str,
    max_latency: str | None,
    max_energy: str | None,
    max_size: str | None,
    max_power: str | None,
    max_accuracy_cost: float | None,
    refine_rounds: int | None,
    prefer: str,
    bundle: str | None,
    insecure: bool,
    allow_older: bool,
    name: str,
    run_path: Path | None,
    sequence_length: int | None,
    train_rows: int | None,
    random_seed: int,
    threads: int | None,
    as_json: bool,
    **rollout: Any,
) -> None:
    """Find a model for a task that fits a board, train it, and deploy it.

    Runs again from where it stopped when the same command is given again. With more --effort and
    the --run of one that had less, its search stays and its refinement goes on.

    \b
    Examples:
      edgetran deploy --target nano --data intents --max-latency 40ms
      edgetran deploy --target nano --data path/to/SST-2 --max-energy 300mJ --max-size 20MB
      edgetran deploy --target local --data path/to/RTE --max-size 9MB --prefer accuracy
      edgetran deploy --target nano --effort thorough --run runs/intents-nano-0a1b2c3d
      edgetran deploy --target rpi4 --bundle runs/intents-nano-0a1b2c3d/bundle.tar
      edgetran deploy --target rpi4 --bundle oci://registry.local/models/intents:7
      edgetran deploy --fleet fleet.toml --bundle bundle.tar --stop-if "p99>20ms"
    """
    asked = RolloutOptions(**rollout)
    if asked.fleet is not None:
        if target or bundle is None:
            raise click.UsageError("--fleet takes a --bundle, and no --target")
        _refuse((*OF_A_SEARCH, "threads"), "with --fleet there is nothing for")
        _deploy_fleet(bundle, insecure, asked, name, allow_older, as_json)
        return
    if not target:
        raise click.UsageError("Missing option '--target' (or '--fleet' with a '--bundle').")
    _refuse(OF_A_FLEET, "without --fleet there is nothing for")
    if bundle is not None:
        _refuse(OF_A_SEARCH, "with --bundle there is nothing for")
    from edgetran_host.job.config import Budget, JobConfig
    from edgetran_host.job.units import parse

    def limit(kind: str, text: str | None) -> float | None:
        return None if text is None else parse(kind, text)

    config = JobConfig(
        data=data,
        seed=seed,
        target=target,
        effort=effort,
        budget=Budget(
            max_latency_s=limit("latency", max_latency),
            max_energy_j=limit("energy", max_energy),
            max_size_bytes=limit("size", max_size),
            max_power_w=limit("power", max_power),
        ),
        sequence_length=sequence_length,
        random_seed=random_seed,
        train_rows=train_rows,
        model=name,
        max_accuracy_cost=None if max_accuracy_cost is None else max_accuracy_cost / 100,
        prefer=prefer,
    )
    if bundle is not None:
        _deploy_bundle(bundle, insecure, config, threads, allow_older, as_json)
    else:
        _deploy_job(config, run_path, refine_rounds, threads, allow_older, as_json)


def _refuse(names: Collection[str], why: str) -> None:
    """Options of these that were given: who limits or tries something out relies on it."""
    context = get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{why} {', '.join(given)}")


def _deploy_job(  # type: ignore[no-untyped-def]
    config,
    run_path: Path | None,
    refine_rounds: int | None,
    threads: int | None,
    allow_older: bool,
    as_json: bool,
) -> None:
    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.result_table import show_result
    from edgetran_host.cli.show_tree import show_tree
    from edgetran_host.job.running import finished_with_less, run_job, taken_up
    from edgetran_host.refine.efforts import refinement_rounds, settings
    from edgetran_host.refine.running import refine_run

    rounds = refinement_rounds(config.effort) if refine_rounds is None else refine_rounds
    if run_path is None:
        if found := finished_with_less(config):
            click.echo(f"starts anew; with --run {found} it goes on from what is there", err=True)
    elif (begun := taken_up(config, run_path)) != config:
        click.echo(
            f"goes on from the {begun.effort} run in {run_path}: {rounds} rounds of refinement",
            err=True,
        )
        config = begun
    with progress(as_json=as_json) as on_progress:
        result = run_job(
            config, run_path, threads=threads, allow_older=allow_older, on_progress=on_progress
        )
        if rounds:
            result = refine_run(
                Path(result["run"]),
                settings(config.effort, prefer=config.prefer, rounds=rounds),
                threads=threads,
                allow_older=allow_older,
                on_progress=on_progress,
            )
    show_result(result, as_json=as_json)
    if rounds and not as_json:
        show_tree(result["refinement"])


def _deploy_bundle(  # type: ignore[no-untyped-def]
    place: str, insecure: bool, config, threads: int | None, allow_older: bool, as_json: bool
) -> None:
    import edgetran
    from edgetran_protos.bundle import Bundle

    from edgetran_host.cli.progress import progress
    from edgetran_host.cli.show import show_deployment

    with progress(as_json=as_json) as on_progress, _at_hand(place, insecure, on_progress) as path:
        bundle = Bundle.open(path)
        with edgetran.connect(config.target, threads=threads) as board:
            name = config.model or bundle.card.name
            deployment = board.deploy(
                bundle, model=name, allow_older=allow_older, on_progress=on_progress
            )
            described = board.describe()
    show_deployment(deployment, described, as_json=as_json)


@contextlib.contextmanager
def _at_hand(place: str, insecure: bool, on_progress: OnProgress) -> Iterator[Path]:
    from edgetran_host.bundling.reference import is_reference

    if not is_reference(place):  # needs nothing that a registry does
        yield Path(place)
        return
    from edgetran_host.bundling.transfer import here

    with here(place, insecure, on_progress) as path:
        yield path


def _deploy_fleet(
    place: str, insecure: bool, asked: RolloutOptions, name: str, allow_older: bool, as_json: bool
) -> None:
    from edgetran_host.cli.fleet import finished, telling
    from edgetran_host.cli.fleet_tables import show_forecast
    from edgetran_host.fleet.fleet_file import read_fleet
    from edgetran_host.fleet.foretelling import foretell
    from edgetran_host.fleet.keeping import kept
    from edgetran_host.fleet.running import deploy as deploy_to_fleet

    assert asked.fleet is not None
    fleet = read_fleet(asked.fleet)
    with telling(as_json=as_json) as on_progress:
        with _at_hand(place, insecure, on_progress) as path:
            bundle = path if Path(place) == path else kept(fleet.path, path)
        plan = asked.plan(bundle, fleet, name, allow_older)
        if not asked.dry_run:
            deploy_to_fleet(fleet, plan, asked.pace(), on_progress)
        found = foretell(fleet, plan, asked.pace(), on_progress) if asked.dry_run else []
    if asked.dry_run:
        show_forecast(fleet, plan, found, as_json=as_json)
        return
    finished(fleet, asked.pace(), follow=asked.follow, as_json=as_json)
