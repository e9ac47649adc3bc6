"""What a search found, as a table for a terminal of eighty columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cli.show import print_json
from edgetran_host.cosearch.figures import (
    FORETOLD,
    FORETOLD_NOTE,
    OPTIONS,
    TITLES,
    as_option,
    change,
    figure,
    line_of,
    marked,
)

STOPPED = {
    "evaluations": "--trials is spent",
    "trainings": "--trainings is spent",
    "time": "--time is up",
    "space": "every pair of the space was tried",
}
MORE = 5  # others that were evaluated again, in the table of a front all


def show_search(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    console = Console(highlight=False)
    if result["assumed"]:
        console.print("[yellow]ASSUMED: every figure is an oracle's, none of a board's[/yellow]")
    if result["blocked"] is not None:
        _show_blocked(console, result["blocked"])
    elif result["whole_front"]:
        _show_front(console, result)
    else:
        for chosen in result["chosen"]:
            _show_chosen(console, result, chosen)
        _show_others(console, result["others"])
    _show_end(console, result)


def _show_chosen(console: Console, result: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    console.print(f"[bold]chosen: {escape(chosen['place'])}[/bold]  {escape(chosen['summary'])}")
    reference = result["references"][chosen["place"]]
    table = _table("", "chosen", "reference", "", "first seen", "is")
    for name, title in TITLES.items():
        value = chosen["outcome"][name]
        table.add_row(
            title,
            _scattered(chosen, name),
            figure(name, reference[name]),
            change(name, value, reference[name]),
            marked(name, chosen["first_seen"]["outcome"][name], _first_sources(chosen)),
            chosen["sources"].get(name, ""),
        )
    console.print(table)
    count = chosen["evaluations"]
    console.print(
        f"[dim]value {chosen['value']:+.3f} (first seen {chosen['first_seen']['value']:+.3f}), "
        f"trial {chosen['trial']}; figures are means of {count} new evaluations[/dim]"
    )
    if FORETOLD in _first_sources(chosen).values():
        console.print(f"[dim]{FORETOLD_NOTE}[/dim]")
    for name, limit in result["limits"].items():
        if limit is not None:
            room = 1 - chosen["outcome"][name] / limit
            console.print(
                f"[dim]{TITLES[name]} limit {figure(name, limit)}: {room:.0%} of room[/dim]"
            )


def _first_sources(chosen: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = chosen["first_seen"].get("sources", {})  # older results have none
    return found


def _scattered(chosen: Mapping[str, Any], name: str) -> str:
    deviation = chosen["score_deviation"]
    if name == "score" and deviation:
        return f"{100 * chosen['outcome'][name]:.1f} ± {100 * deviation:.1f} %"
    return figure(name, chosen["outcome"][name])


def _show_others(console: Console, others: list[Mapping[str, Any]]) -> None:
    for one in others[:MORE]:
        why = "" if one["keeps_limits"] else "  [red]broke a limit when evaluated again[/red]"
        console.print(
            f"[dim]also: {one['value']:+.3f} {escape(one['place'])} trial {one['trial']}  "
            f"{line_of(one['outcome'])}[/dim]{why}",
            soft_wrap=True,
        )


def _show_front(console: Console, result: Mapping[str, Any]) -> None:
    found = len(result["front"])
    console.print(f"[bold]{found} pairs that no other beats; evaluated again:[/bold]")
    names = [name for name in TITLES if name != "size_bytes"]
    table = _table("trial", "board", *(TITLES[name] for name in names), "is")
    for one in sorted(result["chosen"], key=lambda one: -one["outcome"]["score"]):
        sources = sorted(set(one["sources"].values()))
        cells = [figure(name, one["outcome"][name]) for name in names]
        table.add_row(str(one["trial"]), escape(one["place"]), *cells, ", ".join(sources))
    console.print(table)
    _show_others(console, [one for one in result["others"] if not one["keeps_limits"]])


def _show_blocked(console: Console, block: Mapping[str, Any]) -> None:
    console.print(f"[red]nothing keeps the limits[/red], of {block['trials']} trials:")
    table = _table("limit", "broken by", "nearest", "alone")
    for one in block["limits"]:
        enough = one["enough"]
        kept = enough is not None and enough <= one["limit"]
        alone = as_option(one["cost"], enough) if enough is not None else "would not do"
        table.add_row(
            f"{OPTIONS[one['cost']]} {figure(one['cost'], one['limit'])}",
            f"{one['broken']}",
            figure(one["cost"], one["nearest"]),
            "is no obstacle" if kept or not one["broken"] else alone,
        )
    console.print(table)
    near = block["nearest"]
    console.print(f"nearest: {escape(near['place'])}, trial {near['trial']}", soft_wrap=True)
    console.print(f"  [dim]{escape(near['summary'])}[/dim]", soft_wrap=True)
    console.print(f"  {line_of(near['outcome'])}", soft_wrap=True)
    console.print(f"  it would be feasible with {needed(block)}", soft_wrap=True)


def needed(block: Mapping[str, Any]) -> str:
    """The options that would let the nearest point in."""
    return " ".join(as_option(name, value) for name, value in block["needed"].items())


def _show_end(console: Console, result: Mapping[str, Any]) -> None:
    failed = f", {result['failed']} failed" if result["failed"] else ""
    console.print(
        f"[dim]{result['evaluations']} evaluations{failed}, {result['trainings']:.2f} full "
        f"trainings, {result['elapsed_s']:.0f} s: {STOPPED[result['stopped']]}[/dim]"
    )
    console.print(f"run: {escape(result['run'])}  (result.json)", soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 else "right", no_wrap=True)
    return table
