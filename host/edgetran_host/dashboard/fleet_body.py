"""What the page of a fleet says: its last rollout, board by board, promised beside delivered."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgetran_host.fleet.fleet_file import read_fleet
from edgetran_host.fleet.ledger import DEPLOYED, OPEN
from edgetran_host.fleet.reporting import report

COLUMNS = (  # name, title, factor to its unit
    ("latency_p99_s", "p99, ms", 1e3),
    ("energy_j", "energy, mJ", 1e3),
    ("accuracy", "accuracy, %", 1e2),
)
SUMS = ("promised", "median", "worst")
WELL, WRONG, UNDER_WAY = "good", "bad", "warn"


def fleet_body(path: Path) -> str:
    """path: of fleet.toml."""
    found = report(read_fleet(path))
    return "".join(_parts(found))


def _parts(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h1>{html.escape(found['fleet'])}</h1>"
    rollout = found["rollout"]
    if rollout is None:
        yield "<p>Nothing was deployed to this fleet yet.</p>"
        return
    plan = rollout["plan"]
    yield (
        f"<p>{html.escape(plan['model'])} <code>{_short(plan['digest'])}</code>: "
        f"<b>{html.escape(rollout['status'])}</b>, begun {_moment(rollout['began_unix_s'])}</p>"
    )
    if rollout["reason"]:
        yield f'<p class="trouble">{html.escape(rollout["reason"])}</p>'
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found["counts"].items()))
    yield f"<p>{html.escape(counts)}</p>"
    if any(board["modelled"] for board in found["boards"]):
        yield '<p class="emulated">Figures with ~ are of emulated boards: modelled.</p>'
    yield from _together(found["together"])
    yield "<h2>Boards</h2>"
    yield _boards(found["boards"])
    if found["new"]:
        yield f"<p>{len(found['new'])} boards joined since: edgetran fleet resume</p>"


def _boards(boards: Sequence[Mapping[str, Any]]) -> str:
    """Those that went wrong first, then those under way."""
    columns = [one for one in COLUMNS if any(one[0] in board["figures"] for board in boards)]
    heads = [f"{title}: promised / here" for _, title, _ in columns]
    rows = [_cells("th", ["board", "wave", "state", "why", *heads, "served before", "since"])]
    for board in sorted(boards, key=lambda one: (one["state"] == DEPLOYED, one["state"] in OPEN)):
        state = (
            f'<span class="badge {_colour(board["state"])}">{html.escape(board["state"])}</span>'
        )
        figures = (f"<td>{_both(board, name, factor)}</td>" for name, _, factor in columns)
        rows.append(
            f"<tr><td>{html.escape(board['name'])}</td><td>{board['wave']}</td><td>{state}</td>"
            f'<td class="why">{html.escape(board["reason"])}</td>{"".join(figures)}'
            f"<td>{_short(board['before']) or '-'}</td><td>{_moment(board['at_unix_s'])}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _together(together: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for place, figures in together.items():
        for name, title, factor in COLUMNS:
            if name in figures:
                one = figures[name]
                cells = [place, title, *(_figure(one[key], factor) for key in SUMS), one["boards"]]
                rows.append(_cells("td", cells))
    if rows:
        head = _cells("th", ["kind of board", "figure", *SUMS, "boards"])
        yield f"<h2>Promise and delivery</h2><table>{head}{''.join(rows)}</table>"


def _both(board: Mapping[str, Any], name: str, factor: float) -> str:
    both = board["figures"].get(name)
    if both is None:
        return ""
    mark = "~" if board["modelled"] and name != "accuracy" else ""
    return f"{_figure(both['promised'], factor)} / {mark}{_figure(both['delivered'], factor)}"


def _figure(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{value * factor:.3g}"


def _cells(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"


def _colour(state: str) -> str:
    return WELL if state == DEPLOYED else UNDER_WAY if state in OPEN else WRONG


def _short(digest: str) -> str:
    return html.escape(digest.removeprefix("sha256:")[:12])


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M:%S")
