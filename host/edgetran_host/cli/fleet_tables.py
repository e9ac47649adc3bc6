"""Prints how a fleet stands: tables for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cli.show import print_json
from edgetran_host.fleet.fleet_file import Fleet
from edgetran_host.fleet.flowing_back import Rows
from edgetran_host.fleet.foretelling import Forecast
from edgetran_host.fleet.plan import Plan

COLOURS = {
    "deployed": "green",
    "rolled-back": "yellow",
    "refused": "red",
    "kept": "red",
    "unreachable": "magenta",
}
SHOWN_BOARDS = 40  # of a large fleet those that went wrong come first
COLUMNS = (
    ("latency_p99_s", "p99 ms", 1e3),
    ("energy_j", "energy mJ", 1e3),
    ("accuracy", "accuracy %", 1e2),
)


def show_fleet(found: Mapping[str, Any], *, as_json: bool) -> None:
    """What `reporting.report` found."""
    if as_json:
        print_json(found)
        return
    console = Console()
    rollout = found["rollout"]
    if rollout is None:
        console.print(f"nothing was deployed to {escape(found['fleet'])} yet")
        return
    _show_boards(console, found["boards"])
    _show_together(console, found["together"])
    counts = ", ".join(f"{n} {state}" for state, n in sorted(found["counts"].items()))
    console.print(f"{escape(found['fleet'])}: {rollout['status']}; {counts}", highlight=False)
    if rollout["reason"]:
        console.print(escape(rollout["reason"]), highlight=False)
    if found["new"]:
        console.print(f"{len(found['new'])} boards joined since: `edgetran fleet resume`")


def _show_boards(console: Console, boards: Sequence[Mapping[str, Any]]) -> None:
    columns = [one for one in COLUMNS if any(one[0] in board["figures"] for board in boards)]
    heads = [f"{title}\npromised / here" for _, title, _ in columns]
    table = Table("board", "wave", "state", *heads, "reason", box=None, header_style="bold")
    wrong = [board for board in boards if board["state"] != "deployed"]
    well = [board for board in boards if board["state"] == "deployed"]
    listed = boards if len(boards) <= SHOWN_BOARDS else [*wrong, *well][:SHOWN_BOARDS]
    for board in listed:
        colour = COLOURS.get(board["state"], "dim")
        cells = [_pair(board, name, scale) for name, _, scale in columns]
        state = f"[{colour}]{board['state']}[/{colour}]"
        table.add_row(
            escape(board["name"]), str(board["wave"]), state, *cells, escape(board["reason"])
        )
    console.print(table)
    if len(listed) < len(boards):
        console.print(f"[dim]and {len(boards) - len(listed)} more, see --json[/dim]")


def _pair(board: Mapping[str, Any], name: str, scale: float) -> str:
    both = board["figures"].get(name)
    if both is None:
        return ""
    told = " / ".join(_figure(both[key], scale) for key in ("promised", "delivered"))
    return f"{told}{' ~' if board['modelled'] and name != 'accuracy' else ''}"


def _figure(value: float | None, scale: float) -> str:
    return "-" if value is None else f"{value * scale:.3g}"


def _show_together(console: Console, together: Mapping[str, Any]) -> None:
    table = Table("kind of board", "figure", "promised", "median", "worst", "boards", box=None)
    for place, figures in together.items():
        for name, title, scale in COLUMNS:
            if name in figures:
                one = figures[name]
                cells = [_figure(one[key], scale) for key in ("promised", "median", "worst")]
                table.add_row(escape(place), title, *cells, str(one["boards"]))
    if table.row_count:
        console.print(table)


def show_rows(found: Rows, *, as_json: bool) -> None:
    if as_json:
        files = {place: {"file": str(p), "rows": n} for place, (p, n) in found.files.items()}
        print_json({"files": files, "without": list(found.without)})
        return
    for place, (path, count) in found.files.items():
        print(f"{place}: {count} rows in {path}")
    for bundle in found.without:
        print(f"left out: {bundle} is not there any more")


def show_forecast(fleet: Fleet, plan: Plan, found: Sequence[Forecast], *, as_json: bool) -> None:
    if as_json:
        boards = [asdict(one) for one in found]
        print_json({"fleet": fleet.name, "plan": plan.to_json(), "boards": boards})
        return
    console = Console()
    table = Table("board", "wave", "is", "serves now", "variant", "to send", "note", box=None)
    for one in found:
        table.add_row(
            escape(one.name),
            str(one.wave),
            escape(one.place) or "[magenta]no answer[/magenta]",
            escape(one.serves.removeprefix("sha256:")[:12]) or "-",
            escape(one.variant) or "[dim]its choice[/dim]",
            f"{one.send_bytes / 1e6:.1f} MB",
            escape(one.note),
        )
    console.print(table)
    send = sum(one.send_bytes for one in found) / 1e6
    console.print(
        f"would deploy {plan.digest.removeprefix('sha256:')[:12]} as {escape(plan.model)} in "
        f"{max(one.wave for one in found)} waves, {send:.1f} MB to send; nothing was changed",
        highlight=False,
    )
