"""An explanation for a terminal of eighty columns."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.cosearch.figures import TITLES, UNKNOWN, figure
from edgetran_host.cosearch.views.explaining import Explanation, Figure
from edgetran_host.cosearch.views.searched import Searched
from edgetran_host.cosearch.views.telling import between, factor, limit_sentence, points

STEPS = 8  # of the best and the worst
WIDE = 96  # columns, from which energy is told of steps as well
BAR = 14  # characters of a layer's whole share


def show_explanation(found: Explanation, searched: Searched) -> None:
    console = Console(highlight=False)
    if searched.assumed:
        console.print("[yellow]ASSUMED: every figure is an oracle's, none of a board's[/yellow]")
    standing = "on the front" if found.on_front else "not on the front"
    ranked = f"{found.rank}. of {found.kept} that keep the limits" if found.rank else "over a limit"
    console.print(
        f"[bold]trial {found.trial} on {escape(found.place)}[/bold]  {ranked}, {standing}"
    )
    console.print(f"  {escape(found.summary)}", soft_wrap=True)
    for line in found.layers:
        console.print(f"  [dim]layer {escape(line)}[/dim]", soft_wrap=True)
    for part in (_figures, _rivals, _layers, _origin, _steps, _limits):
        part(console, found)


def _figures(console: Console, found: Explanation) -> None:
    _title(console, "figures; nine of ten draws of the models by all trials, and without this one")
    limited = any(one.limit is not None for one in found.figures)
    names = ["", "seen", "is", "by all trials", "without it", *["limit"] * limited]
    table = _table(*names, padding=1 if limited and console.width < WIDE else 2)
    for one in found.figures:
        if one.seen is not None:
            table.add_row(
                TITLES[one.name],
                figure(one.name, one.seen) + _of_one(one),
                one.source,
                between(one.name, one.believed),
                between(one.name, one.foretold),
                *[_limit(one)] * limited,
            )
    console.print(table)


def _limit(one: Figure) -> str:
    """The room that is left in a line of its own."""
    if one.limit is None or one.room is None:
        return UNKNOWN
    return f"{figure(one.name, one.limit)}\n[dim]{one.room:+.0%} room[/dim]"


def _of_one(one: Figure) -> str:
    """The interval of a single evaluation, in a line of its own."""
    return f"\n[dim]{between(one.name, one.interval)}[/dim]" if one.interval else ""


def _rivals(console: Console, found: Explanation) -> None:
    _title(console, "rivals: on the front with the nearest value, then the most alike")
    table = _table("trial", "", "value", "score", "latency", "energy", "how it differs", wrap=True)
    for one in found.rivals:
        value = UNKNOWN if one.value is None else f"{one.value:+.2f}"
        table.add_row(
            f"{one.trial}",
            one.kind,
            value if one.keeps else f"[red]over[/red] {value}",
            *(figure(name, getattr(one.outcome, name)) for name in ("score", "latency_s")),
            figure("energy_j", one.outcome.energy_j),
            escape(one.differences),
        )
    console.print(table)


def _layers(console: Console, found: Explanation) -> None:
    if not found.layer_costs:
        return
    _title(console, "which layers cost what: foretold by sums of work, not measured")
    table = _table("", *(TITLES[one.cost] for one in found.layer_costs))
    count = len(found.layer_costs[0].layers)
    rows = [("the process", [one.constant for one in found.layer_costs])]
    rows += [("around the layers", [one.around for one in found.layer_costs])]
    for at in range(count):
        rows.append((f"layer {at + 1}", [one.layers[at] for one in found.layer_costs]))
    for label, parts in rows:
        shares = [part / one.foretold for part, one in zip(parts, found.layer_costs)]
        bars = (f"{share:4.0%} {'#' * round(BAR * share):<{BAR}}" for share in shares)
        table.add_row(label, *bars)
    console.print(table)
    told = ", ".join(
        f"{TITLES[one.cost]} {figure(one.cost, one.foretold)} by {one.trials} trials there"
        for one in found.layer_costs
    )
    console.print(f"[dim]in all {told}[/dim]")


def _origin(console: Console, found: Explanation) -> None:
    one = found.origin
    _title(console, "how it came about")
    reason = f"asked for: {one.reason}" if one.reason else "its designer gave no reason"
    console.print(f"turn {one.turn}: {reason}; training cost {one.training_cost:.2f}")
    if one.parent is not None:
        console.print(
            f"most like earlier trial {one.parent}: {escape(one.differences)}", soft_wrap=True
        )


def _steps(console: Console, found: Explanation) -> None:
    if not found.steps:
        console.print("[dim]too few trials for models: no outlook[/dim]")
        return
    _title(console, "one more step of all layers: mean and nine of ten draws of the models")
    costs = ["latency_s", "energy_j"] if console.width >= WIDE else ["latency_s"]
    table = _table("step", "value", "score, points", *(TITLES[name] for name in costs), "kept")
    shown = (
        found.steps
        if len(found.steps) <= 2 * STEPS
        else (*found.steps[:STEPS], *found.steps[-STEPS:])
    )
    for step in shown:
        table.add_row(
            step.direction,
            f"{step.value.mean:+.2f}",
            points(step.score, 1),
            *(factor(step.costs.get(name)) for name in costs),
            f"{step.keeps:.0%}",
        )
    console.print(table)


def _limits(console: Console, found: Explanation) -> None:
    if not found.sensitivity:
        return
    _title(console, "what a looser limit would buy: mean and nine of ten draws of the models")
    for one in found.sensitivity:
        console.print(limit_sentence(one), soft_wrap=True)


def _title(console: Console, text: str) -> None:
    console.print(f"\n[italic]{text}[/italic]")


def _table(*columns: str, wrap: bool = False, padding: int = 2) -> Table:
    """The first column gives way where a line is too short. wrap: the last holds sentences."""
    table = Table(box=None, padding=(0, padding, 0, 0), header_style="bold underline")
    for at, column in enumerate(columns):
        wraps = at == 0 or (wrap and at == len(columns) - 1)
        table.add_column(
            column,
            justify="left" if wraps else "right",
            no_wrap=not wraps,
            overflow="fold",
        )
    return table
