"""Prints results: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgetran.results import BoardInfo, Deployment, Prediction
from rich.console import Console
from rich.markup import escape
from rich.table import Table

MODELLED_NOTE = "~ modelled: from the board's model in the catalogue, not measured on a board"


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, sort_keys=True))


def show_predictions(
    texts: Sequence[str], predictions: Sequence[Prediction], board: BoardInfo, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "board": board.board,
                "emulated": board.emulated,
                "predictions": [{"text": text, **asdict(p)} for text, p in zip(texts, predictions)],
            }
        )
        return
    console = Console()
    for text, prediction in zip(texts, predictions):
        answer = prediction.label or f"{prediction.score:.3f}"
        sure = f"  {prediction.score:.1%}" if prediction.label else ""
        console.print(f"[bold]{escape(answer)}[/bold]{sure}  {escape(text)}")
    if board.emulated:
        console.print(f"[dim]{board.title} is emulated; the answers are the model's own[/dim]")


def show_deployment(deployment: Deployment, board: BoardInfo, *, as_json: bool) -> None:
    if as_json:
        print_json({"deployment": asdict(deployment), "emulated": board.emulated})
        return
    tag = "  [EMULATED]" if board.emulated else ""
    Console().print(
        f"{deployment.model} serves on {board.title}{tag}: {deployment.variant}, "
        f"{deployment.artefact_bytes / 1e6:.1f} MB",
        markup=False,
    )


def show_boards(specs: Sequence[Any], book: dict[str, str], *, as_json: bool) -> None:
    rows = [
        {
            "name": spec.id,
            "title": spec.title,
            "aliases": list(spec.aliases),
            "units": list(spec.unit_names),
            "address": book.get(spec.id) or next((book[a] for a in spec.aliases if a in book), ""),
        }
        for spec in specs
    ]
    listed = {row["name"] for row in rows} | {a for row in rows for a in row["aliases"]}
    rows += [
        {"name": name, "title": "added board", "aliases": [], "units": [], "address": address}
        for name, address in book.items()
        if name not in listed
    ]
    if as_json:
        print_json(rows)
        return
    table = Table()
    for column in ("target", "board", "also called", "units", "address"):
        table.add_column(column)
    for row in rows:
        absent = "this machine" if row["name"] == "local" else "[dim]none: emulated[/dim]"
        table.add_row(
            row["name"],
            row["title"],
            ", ".join(row["aliases"]),
            ", ".join(row["units"]),
            row["address"] or absent,
        )
    Console().print(table)


def show_board(board: BoardInfo, deployments: Sequence[Deployment], *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(board), "deployments": [asdict(d) for d in deployments]})
        return
    console = Console()
    console.print(f"[bold]{board.title}[/bold] ({board.unit})", highlight=False)
    if board.emulated:
        console.print(f"EMULATED on {board.host_platform}: {MODELLED_NOTE[2:]}")
    console.print(
        f"{board.soc}, {board.cpu_count} cores, {board.memory_bytes / 2**30:.1f} GiB, "
        f"{board.threads} threads a model, daemon {board.daemon_version}"
    )
    table = Table()
    for column in ("kind", "name", "state"):
        table.add_column(column)
    for runtime in board.runtimes:
        table.add_row(
            "runtime", f"{runtime.name} {runtime.version}", runtime.unavailable or "ready"
        )
    for sensor in board.sensors:
        table.add_row("sensor", f"{sensor.name} ({sensor.scope})", sensor.unavailable or "ready")
    for d in deployments:
        table.add_row("model", f"{d.model} {d.variant}", d.state)
    console.print(table)


def show_runs(found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    table = Table()
    for column in ("run", "data", "target", "effort", "state"):
        table.add_column(column)
    for run in found:
        config = run["config"]
        state = "finished" if run["finished"] else f"{len(run['stages'])} stages done"
        table.add_row(run["name"], config["data"], config["target"], config["effort"], state)
    Console().print(table)
