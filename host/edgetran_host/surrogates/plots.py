"""One page about a surrogate: predicted against measured, learning curve, depth against width."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetran_host.job.run_directory import write_atomically
from edgetran_host.space.architecture import Architecture
from edgetran_host.surrogates.contours import contour_figure
from edgetran_host.surrogates.rows import Rows
from edgetran_host.surrogates.scoring import Score, score
from edgetran_host.surrogates.surrogate import Prediction, Surrogate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {"latency_s": "latency, s", "energy_j": "energy, J", "peak_power_w": "peak power, W"}
PLACES = (1.0, 2.0, 5.0)  # of a decade, that an axis names
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}"
    "img{width:100%}"
)


def write_page(
    surrogate: Surrogate, rows: Rows, path: Path, designs: Sequence[Architecture] = ()
) -> None:
    """One self-contained HTML file; designs: those of the rows, where they are known."""
    parts = [
        f"<h1>Surrogate of {surrogate.rows} rows, on {len(rows)} rows</h1>",
        _image("predicted against measured", predicted_against_measured(surrogate, rows)),
        "<p>Bars are 90 % intervals; the line is where both agree.</p>",
    ]
    if any(measure.curve for measure in surrogate.measures.values()):
        parts.append(_image("learning curve", learning_curve(surrogate)))
    over_both = contour_figure(surrogate, rows, designs) if designs else None
    if over_both is not None:
        parts.append(_image("predicted latency over depth and width", over_both))
        parts.append(
            "<p>Lines join designs of equal predicted latency, in seconds; heads and feed-forward"
            " stacks are like those measured. Points are measured designs, in the colour of their"
            " own latency.</p>"
        )
    for name, measure in surrogate.measures.items():
        if measure.confidence.reason:
            said = f"{name}: low confidence, {measure.confidence.reason}"
            parts.append(f"<p>{html.escape(said)}</p>")
    page = (
        "<!doctype html><meta charset=utf-8><title>edgetran surrogate</title>"
        f"<style>{STYLE}</style>{''.join(parts)}"
    )
    write_atomically(path, page.encode())


def predicted_against_measured(surrogate: Surrogate, rows: Rows) -> Figure:
    from matplotlib.figure import Figure

    scores, foretold = score(surrogate, rows), surrogate.predict(rows)
    figure = Figure(figsize=(4.5 * len(scores), 4.2), layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (name, one) in zip(panels, scores.items()):
        known = np.isfinite(rows.measures[name])
        _panel(axes, name, rows.measures[name], foretold[name], known, one)
    return figure


def learning_curve(surrogate: Surrogate) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, measure in surrogate.measures.items():
        if measure.curve:
            errors = [100 * error for error in measure.curve.values()]
            axes.plot(list(measure.curve), errors, marker="o", label=TITLES[name])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: "")
    axes.set_xlabel("rows measured")
    axes.set_ylabel("mean error on other rows, %")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def _panel(
    axes: Axes,
    name: str,
    measured: np.ndarray,
    foretold: Prediction,
    known: np.ndarray,
    found: Score,
) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    x, y = measured[known], foretold.value[known]
    below, above = y - foretold.low[known], foretold.high[known] - y
    axes.errorbar(x, y, yerr=[below, above], fmt="o", ms=3, lw=0.5, alpha=0.5)
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color="#1a7f37", lw=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=PLACES))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_locator(NullLocator())
    axes.set_title(f"{found.mape:.1%} off, {found.coverage_90:.0%} inside")
    axes.set_xlabel(f"measured {TITLES[name]}")
    axes.set_ylabel("predicted")
    axes.grid(alpha=0.3)


def _image(title: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{picture}">'
