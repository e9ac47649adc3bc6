"""Pictures of a search: fronts, progress, parallel coordinates, importance, budget, limits."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetran_host.cosearch.history import Entry
from edgetran_host.cosearch.readable import parameters
from edgetran_host.cosearch.sensitivity import Sensitivity
from edgetran_host.cosearch.standing import SEARCH, outcome_of, value_of
from edgetran_host.cosearch.views.importance import Importance
from edgetran_host.cosearch.views.progress import Progress
from edgetran_host.cosearch.views.searched import Searched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; each with a marker of its own.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CHOSEN = "#000000"
UNITS = {  # of axes: name, unit, factor to it; and for large values
    "latency_s": (("latency, ms", 1e3), ("latency, s", 1.0)),
    "energy_j": (("energy, mJ", 1e3), ("energy, J", 1.0)),
    "peak_power_w": (("peak power, W", 1.0),),
    "size_bytes": (("size, MB", 1e-6), ("size, GB", 1e-9)),
}
LARGE = 1e3  # from which the next unit reads better
PANELS = ("latency_s", "energy_j", "size_bytes")
TARGETS = {
    "score": "score",
    "latency_s": "latency",
    "energy_j": "energy",
    "value": "goal's value",
}
DPI = 110


def front_picture(searched: Searched) -> bytes:
    """Score against costs; hollow: over a limit. Lines: nothing cheaper scores more."""
    figure, panels = _canvas(1, len(PANELS), 11, 4.4)
    places = [place.id for place in searched.brief.product.places]
    scored = [one for one in searched.tried if outcome_of(one).score is not None]
    for axes, cost in zip(panels[0], PANELS):
        known = [one for one in scored if getattr(outcome_of(one), cost) is not None]
        title, factor = _unit(cost, [getattr(outcome_of(one), cost) for one in known])
        for at, place in enumerate(places):
            for keeps in (True, False):
                chosen = [
                    one
                    for one in known
                    if one.request.pair.place.id == place
                    and searched.brief.goal.keeps(outcome_of(one)) == keeps
                ]
                x, y = _points(chosen, cost, factor)
                colour = COLOURS[at % len(COLOURS)]
                axes.scatter(
                    x,
                    y,
                    s=26,
                    marker=MARKERS[at % len(MARKERS)],
                    facecolors=colour if keeps else "none",
                    edgecolors=colour,
                    alpha=0.85 if keeps else 0.6,
                    linewidths=0.9,
                    label=place if keeps else None,
                )
        kept = [one for one in known if searched.brief.goal.keeps(outcome_of(one))]
        _stairs(axes, *_points(kept, cost, factor))
        _mark_chosen(axes, searched, cost, factor)
        limit = getattr(searched.brief.goal.limits, cost)
        if limit is not None:
            axes.axvline(limit * factor, color="#57606a", linestyle="--", linewidth=1)
            axes.annotate(
                "limit", (limit * factor, 0.01), xycoords=("data", "axes fraction"), fontsize=8,
                color="#57606a", rotation=90, ha="right", va="bottom",
            )  # fmt: skip
        _logarithmic(axes)
        axes.set_xlabel(title)
    panels[0][0].set_ylabel("score, %")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    return _png(figure)


def progress_picture(found: Progress) -> bytes:
    figure, panels = _canvas(1, 1, 9, 4)
    axes = panels[0][0]
    at = np.arange(1, len(found.search) + 1)
    if found.chance is not None:
        middle, low, high = found.chance
        worst = np.min(found.chance, initial=np.inf, where=np.isfinite(found.chance))
        low = np.where(np.isnan(low) & np.isfinite(high), worst, low)
        axes.fill_between(at, low, high, step="post", color=COLOURS[4], alpha=0.25, linewidth=0)
        axes.step(
            at, middle, where="post", color=COLOURS[4], linestyle="--",
            label="random searches: median, eight of ten",
        )  # fmt: skip
    axes.step(at, found.search, where="post", color=COLOURS[0], linewidth=2, label="this search")
    if 0 < found.starts < len(at):
        axes.axvspan(0.5, found.starts + 0.5, color="#57606a", alpha=0.08, linewidth=0)
        axes.annotate(
            "before any model", (found.starts + 0.5, 0.02), xycoords=("data", "axes fraction"),
            fontsize=8, ha="right", color="#57606a",
        )  # fmt: skip
    axes.set_xlim(0.5, len(at) + 0.5)
    axes.set_xlabel("evaluations")
    axes.set_ylabel(found.what)
    axes.legend(loc="lower right")
    return _png(figure)


def coordinates_picture(searched: Searched) -> bytes:
    """A line a trial; the better, the darker and the later drawn."""
    figure, panels = _canvas(1, 1, 11, 4.6)
    axes = panels[0][0]
    scored = [one for one in searched.tried if outcome_of(one).score is not None]
    columns = _coordinates(searched, scored)
    order = np.argsort([value_of(searched.brief, one) for one in scored])
    kept = [searched.brief.goal.keeps(outcome_of(one)) for one in scored]
    heights = np.array([_scaled(values) for _, values, _ in columns]).T  # (n, columns)
    from matplotlib import colormaps

    shades = colormaps["cividis_r"]
    for rank, at in enumerate(order):
        share = rank / max(1, len(order) - 1)
        axes.plot(
            heights[at],
            color=shades(0.15 + 0.85 * share) if kept[at] else "#b8bec5",
            alpha=0.9 if kept[at] else 0.4,
            linewidth=0.6 + 1.4 * share**3,
            zorder=1 + rank if kept[at] else 0,
        )
    if searched.chosen is not None:
        pairs = [one.request.pair for one in scored]
        if searched.chosen.request.pair in pairs:
            at = pairs.index(searched.chosen.request.pair)
            axes.plot(heights[at], color=COLOURS[1], linewidth=2.2, zorder=len(order) + 2)
    for at, (_, _, ends) in enumerate(columns):
        axes.axvline(at, color="#1b1f24", linewidth=0.8, zorder=len(order) + 3)
        for height, text in ends:
            axes.annotate(
                text, (at, height), xytext=(-3 if at == 0 else 3, 0), textcoords="offset points",
                fontsize=7.5, va="center", ha="right" if at == 0 else "left",
                zorder=len(order) + 4,
                bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
            )  # fmt: skip
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), [name for name, _, _ in columns], fontsize=9)
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.set_xlim(-1.3, len(columns) - 0.4)
    for side in axes.spines.values():
        side.set_visible(False)
    return _png(figure)


def importance_picture(found: Sequence[Importance]) -> bytes:
    targets = list(found[0].shares)
    figure, panels = _canvas(1, len(targets), 11, 3.4, sharey=True)
    names = [one.choice for one in found]
    for at, (axes, target) in enumerate(zip(panels[0], targets)):
        spreads = [one.shares[target] for one in found]
        means = np.array([100 * one.mean for one in spreads])
        errors = [
            means - [100 * one.low for one in spreads],
            np.array([100 * one.high for one in spreads]) - means,
        ]
        axes.barh(
            names, means, xerr=np.maximum(errors, 0), color=COLOURS[at], alpha=0.85,
            error_kw={"linewidth": 0.9},
        )  # fmt: skip
        axes.set_xlabel("share of the variance, %")
        axes.set_title(TARGETS[target], fontsize=10)
        axes.set_xlim(left=0)
    panels[0][0].invert_yaxis()
    return _png(figure)


def budget_picture(searched: Searched) -> bytes:
    """Evaluations and full trainings by kind, and evaluations by board."""
    figure, panels = _canvas(1, 3, 11, 2.8)
    counts: Counter[str] = Counter()
    trainings: Counter[str] = Counter()
    boards: Counter[str] = Counter()
    for one in searched.entries:
        counts[kind_of(one)] += 1
        boards[one.request.pair.place.id] += 1
        if one.evaluation is not None:
            trainings[kind_of(one)] += one.evaluation.training_cost  # type: ignore[assignment]
    for axes, found, label, colour in zip(
        panels[0],
        (counts, trainings, boards),
        ("evaluations", "full trainings", "evaluations"),
        COLOURS,
    ):
        bars = axes.barh(list(found), list(found.values()), color=colour, alpha=0.85)
        axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
        axes.set_xlim(0, 1.25 * max([*found.values(), 1e-9]))
        axes.set_xlabel(label)
        axes.invert_yaxis()
    return _png(figure)


def limits_picture(found: Sequence[Sensitivity]) -> bytes:
    """The score of the models' pick within a limit."""
    figure, panels = _canvas(1, len(found), min(11, 5.5 * len(found)), 3.6, sharey=True)
    for axes, one in zip(panels[0], found):
        title, factor = _unit(one.cost, [one.limit])
        known = [(limit * factor, spread) for limit, spread in one.curve if spread is not None]
        x = [limit for limit, _ in known]
        axes.fill_between(
            x,
            [100 * spread.low for _, spread in known],
            [100 * spread.high for _, spread in known],
            step="mid",
            color=COLOURS[0],
            alpha=0.2,
            linewidth=0,
        )
        axes.step(x, [100 * spread.mean for _, spread in known], where="mid", color=COLOURS[0])
        axes.axvline(
            one.limit * factor, color="#57606a", linestyle="--", linewidth=1, label="limit"
        )
        _logarithmic(axes)
        axes.set_xlim(one.curve[0][0] * factor, one.curve[-1][0] * factor)
        axes.set_xlabel(f"{title} allowed")
        axes.legend(loc="lower right")
    panels[0][0].set_ylabel("score of the models' pick, %")
    return _png(figure)


def kind_of(entry: Entry) -> str:
    """What an evaluation was for, in a word or two."""
    if entry.error:
        return "failed"
    if entry.asked.role != SEARCH:
        return "finalists again"
    if entry.evaluation is None:
        return "under way"
    reason = entry.asked.reason
    if reason.startswith("one of the first"):
        return "first ones"
    return reason or "searching"


def _coordinates(
    searched: Searched, scored: Sequence[Entry]
) -> list[tuple[str, np.ndarray, list[tuple[float, str]]]]:
    """Name, values and labels at heights of each axis."""
    rows = [parameters(one.request.pair, searched.brief.product) for one in scored]
    places = [place.id for place in searched.brief.product.places]
    at = np.array([places.index(str(row["board"])) for row in rows], dtype=float)
    steps = max(1, len(places) - 1)
    found = [("board", at, [(one / steps, name) for one, name in enumerate(places)])]
    for name in rows[0] if rows else ():
        if name != "board":
            values = np.array([float(row[name]) for row in rows])
            if np.ptp(values) > 0:
                found.append(
                    (name.replace("feed_forward", "feed-\nforward"), values, _ends(values))
                )
    for name in ("latency_s", "energy_j", "score"):
        given = [getattr(outcome_of(one), name) for one in scored]
        known = [one for one in given if one is not None]
        title, factor = ("score, %", 100.0) if name == "score" else _unit(name, known)
        values = np.array([np.nan if one is None else factor * one for one in given])
        if known and min(known) < max(known):
            ends = [(0.0, _short(np.nanmin(values))), (1.0, _short(np.nanmax(values)))]
            heights = values if name == "score" else np.log(values)
            found.append((title.replace(" ", "\n"), heights, ends))
    return found


def _ends(values: np.ndarray) -> list[tuple[float, str]]:
    return [(0.0, _short(values.min())), (1.0, _short(values.max()))]


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = np.nanmin(values), np.nanmax(values)
    found: np.ndarray = (values - low) / (high - low if high > low else 1.0)
    return found


def _unit(cost: str, values: Sequence[float]) -> tuple[str, float]:
    """The label of an axis, and the factor to its unit."""
    units = UNITS[cost]
    middle = float(np.median(values)) if len(values) else 1.0
    return next((one for one in units if middle * one[1] < LARGE), units[-1])


def _points(entries: Sequence[Entry], cost: str, factor: float) -> tuple[np.ndarray, np.ndarray]:
    x = np.array([factor * float(getattr(outcome_of(one), cost)) for one in entries])
    y = np.array([100 * float(outcome_of(one).score or 0.0) for one in entries])
    return x, y


def _stairs(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """What no cheaper one beats in score, by these two figures alone."""
    order = np.lexsort((-y, x))
    best = np.maximum.accumulate(y[order]) if len(y) else y
    new = np.diff(best, prepend=-np.inf) > 0
    axes.step(x[order][new], best[new], where="post", color="#1b1f24", linewidth=1, alpha=0.7)


def _mark_chosen(axes: Axes, searched: Searched, cost: str, factor: float) -> None:
    chosen = searched.chosen
    if chosen is None or getattr(outcome_of(chosen), cost) is None:
        return
    x, y = _points([chosen], cost, factor)
    axes.scatter(
        x, y, s=190, facecolors="none", edgecolors=CHOSEN, linewidths=1.8, zorder=5, label="chosen"
    )


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 12 else (1.0, 1.5, 2, 3, 5, 7)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _canvas(
    rows: int, columns: int, width: float, height: float, sharey: bool = False
) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for axes in panels.ravel():
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure, panels


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
