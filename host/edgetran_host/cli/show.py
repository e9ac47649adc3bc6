"""Prints results: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgetran.results import BoardInfo, Deployment, Prediction
from edgetran_devices import RESIDENT, BoardSpec, UnitModel, UnknownBoard, load_board
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.job.figures import MODELLED_NOTE

LOCAL = "local"

if TYPE_CHECKING:  # it brings NumPy and the spaces
    from edgetran_host.campaign.running import Outcome


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, sort_keys=True))


def show_predictions(
    texts: Sequence[str],
    pair: str | None,
    predictions: Sequence[Prediction],
    board: BoardInfo,
    *,
    as_json: bool,
) -> None:
    """pair: the second text of all, if there is one."""
    if as_json:
        answers = [
            {"text": text, "text_pair": pair, **asdict(one)}
            for text, one in zip(texts, predictions)
        ]
        print_json({**_whose(board), "predictions": answers})
        return
    console = Console(highlight=False, soft_wrap=True)  # a line an answer, however long
    shown = [one.label or f"{one.score:.3f}" for one in predictions]
    width = max(len(answer) for answer in shown)
    for text, answer, one in zip(texts, shown, predictions):
        sure = f"  {one.score:6.1%}" if one.label else ""
        console.print(f"[bold]{escape(answer.ljust(width))}[/bold]{sure}  {escape(text)}")
    if board.emulated:
        console.print(
            f"[dim]{escape(board.title)} is emulated; the answers are the model's own[/dim]"
        )


def show_deployment(deployment: Deployment, board: BoardInfo, *, as_json: bool) -> None:
    if as_json:
        print_json({"deployment": asdict(deployment), **_whose(board)})
        return
    signed = f", signed by {deployment.signed_by}" if deployment.signed_by else ""
    print(
        f"{deployment.model} serves on {board.title}{_tag(board)}: {deployment.variant}, "
        f"{deployment.artefact_bytes / 1e6:.1f} MB{signed}"
    )


def show_added(name: str, address: str, board: BoardInfo, *, as_json: bool) -> None:
    if as_json:
        added = {"name": name, "address": address}
        print_json({**added, **_whose(board)})
        return
    print(f"{name}: {board.title}{_tag(board)} at {address}")


def show_paired(address: str, role: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"address": address, "role": role})
        return
    print(f"{address}: paired, with the role {role!r}")


def show_removed(name: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": name})
        return
    print(f"{name}: forgotten")


def show_boards(specs: Sequence[BoardSpec], book: Mapping[str, str], *, as_json: bool) -> None:
    """A name of the user's own wins over the catalogue's, alias or not."""
    rows = [_catalogue_row(spec, book) for spec in specs]
    rows += [_added_row(name, book[name]) for name in book if name not in {s.id for s in specs}]
    if as_json:
        print_json(rows)
        return
    table = _table("target", "board", "also called", "units", "where")
    for row in rows:
        here = "emulated here" if row["emulated"] else "this machine"
        here = "calibrated" if row["calibrated"] else here
        table.add_row(
            row["name"],
            escape(row["title"]),
            ", ".join(row["aliases"]),
            ", ".join(row["units"]),
            escape(row["address"]) or f"[dim]{here}[/dim]",
        )
    Console().print(table)


def _catalogue_row(spec: BoardSpec, book: Mapping[str, str]) -> dict[str, Any]:
    address = book.get(spec.id, "")
    return {
        "name": spec.id,
        "title": spec.title,
        "aliases": [alias for alias in spec.aliases if alias not in book],
        "units": list(spec.unit_names),
        "address": address,
        "emulated": None if address else spec.id != LOCAL,
        "calibrated": any(unit.measured for unit in spec.units.values()),
    }


def _added_row(name: str, address: str) -> dict[str, Any]:
    """emulated None: only the daemon at the address knows."""
    return {
        "name": name,
        "title": "added board",
        "aliases": [],
        "units": [],
        "address": address,
        "emulated": None,
        "calibrated": False,
    }


def calibrated_model(target: str, unit: str) -> UnitModel | None:
    """What a calibration of the user's own knows of a real board; None: there was none."""
    try:
        found = load_board(target.partition(":")[0]).units.get(unit)
    except UnknownBoard:
        return None
    return found if found and found.measured else None


def show_board(
    board: BoardInfo,
    address: str,
    deployments: Sequence[Deployment],
    model: UnitModel | None,
    *,
    as_json: bool,
) -> None:
    """model: what a calibration found."""
    calibrated = dict(model.measured) if model else None
    if as_json:
        deployed = [asdict(one) for one in deployments]
        found = {**asdict(board), "address": address}
        print_json({**found, "calibrated": calibrated, "deployments": deployed})
        return
    console = Console(highlight=False, emoji=False)  # an address holds colons
    console.print(f"[bold]{escape(board.title)}[/bold] ({board.unit}) at {escape(address)}")
    if board.emulated:
        console.print(f"EMULATED on {board.host_platform}: {MODELLED_NOTE[2:]}")
        console.print(f"calibration: {board.calibration}")
    threads = "1 thread" if board.threads == 1 else f"{board.threads} threads"
    console.print(
        f"{escape(board.soc)}, {board.cpu_count} cores, {board.memory_bytes / 2**30:.1f} GiB, "
        f"{threads} a model, daemon {board.daemon_version}"
    )
    if model:
        console.print(
            f"calibrated {model.measured['date']} on {model.measured['graphs']} graphs, "
            f"latency within a factor of {1 + model.relative_error:.2f}"
        )
    table = _table("kind", "name", "state")
    for runtime in board.runtimes:
        name = f"{runtime.name} {runtime.version}".strip()
        table.add_row("runtime", name, escape(runtime.unavailable) or "ready")
    for sensor in board.sensors:
        name = f"{sensor.name} ({sensor.scope})"
        ready = "in use" if sensor.in_use else "ready"
        table.add_row("sensor", name, escape(sensor.unavailable) or ready)
    for one in deployments:
        why = f": {one.reason}" if one.reason else ""
        by = f", signed by {one.signed_by}" if one.signed_by else ""
        table.add_row("model", f"{one.model} {one.variant}", escape(f"{one.state}{by}{why}"))
    console.print(table)


def _table(*columns: str) -> Table:
    """As wide as its text and no wider: a hundred columns hold every board."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    for column in columns:
        table.add_column(column)
    return table


def _tag(board: BoardInfo) -> str:
    if not board.emulated:
        return ""
    return " [EMULATED]" if board.calibration == RESIDENT else f" [EMULATED, {board.calibration}]"


def _whose(board: BoardInfo) -> dict[str, object]:
    """Of which board the figures are, and of which of its models."""
    return {
        "board": board.board,
        "emulated": board.emulated,
        "calibration": board.calibration,
    }


def show_campaign(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(one), "data": str(one.data)} for one in outcomes])
        return
    table = _table("board", "measured", "invalid", "failed", "missing", "rows")
    for one in outcomes:
        counts = map(str, (one.measured, one.invalid, one.failed, one.missing))
        table.add_row(escape(one.target), *counts, escape(str(one.data)))
    Console(soft_wrap=True).print(table)


def show_runs(found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found:
        print("no runs yet; `edgetran deploy` or `edgetran search` makes one")
        return
    table = _table("run", "data", "target", "effort", "state")
    for run in found:
        table.add_row(*map(escape, (run["name"], *_run_cells(run))))
    Console(soft_wrap=True).print(table)


def _run_cells(run: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if "config" in run:
        config = run["config"]
        state = "finished" if run["finished"] else f"{len(run['stages'])} stages done"
        return config["data"], config["target"], config["effort"], state
    if "request" not in run:  # it cannot be read
        return "-", "-", "-", run["state"]
    request = run["request"]
    if run["kind"] == "pre-training":
        return ", ".join(request["sources"]), "-", "-", run["state"]
    oracle = request["oracle"]
    data = f"oracle {oracle['name']}" if oracle else request["data"]
    return data, ",".join(request["targets"]) or "all", request["effort"] or "-", run["state"]
