"""What a board asks for depth and width: predicted latency over both, measured designs on it.

At each depth and width stand designs whose layers all have that width, with heads and
feed-forward stacks drawn from the layers of the measured designs; drawn is their geometric mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.surrogates.rows import Rows
from edgetran_host.surrogates.surrogate import Surrogate
from edgetran_host.surrogates.terms import architecture_terms, memory_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURE = "latency_s"
DRAWN = 16  # designs a point of the grid
WIDTHS = 9
MOST_DEPTHS = 12
LINES = 10
DARKEST = 2.5  # of the largest latency: lines and labels stay legible
APART = 0.12  # layers: equal depths and widths do not hide each other
MARGIN = 0.04  # of either axis
SEED = 0


@dataclass(frozen=True)
class Contour:
    depths: np.ndarray  # (d,) layers
    widths: np.ndarray  # (w,) hidden size
    values: np.ndarray  # (w, d)


def designs_of(paths: Sequence[Path]) -> list[Architecture]:
    """Of files that `read_rows` takes, in its order; none of graphs known by their work alone."""
    raws = [row for path in paths for row in json.loads(path.read_bytes())]
    return [Architecture.from_dict(row["architecture"]) for row in raws if "architecture" in row]


def contour(surrogate: Surrogate, designs: Sequence[Architecture]) -> Contour:
    """Over the depths and widths of the designs."""
    rng = np.random.default_rng(SEED)
    layers = [layer for design in designs for layer in design.layers]
    counts = [len(design.layers) for design in designs]
    hidden = [layer.hidden for layer in layers]
    steps = min(MOST_DEPTHS, max(counts) - min(counts) + 1)
    depths = np.unique(np.linspace(min(counts), max(counts), steps).round().astype(int))
    widths = np.unique(np.linspace(min(hidden), max(hidden), WIDTHS).round().astype(int))
    drawn = [rng.integers(0, len(layers), size=max(counts)) for _ in range(DRAWN)]
    at_grid = [
        Architecture(tuple(_as_wide(layers[at], int(width)) for at in one[:depth]))
        for width in widths
        for depth in depths
        for one in drawn
    ]
    foretold = surrogate.predict(_rows(at_grid))[MEASURE].value
    means = np.exp(np.log(foretold).reshape(len(widths), len(depths), DRAWN).mean(axis=2))
    return Contour(depths, widths, means)


def contour_figure(
    surrogate: Surrogate, rows: Rows, designs: Sequence[Architecture]
) -> Figure | None:
    """None where there is nothing to span: one depth, one width, no latency."""
    if MEASURE not in surrogate.measures or len(designs) != len(rows):
        return None
    found = contour(surrogate, designs)
    if min(found.values.shape) < 2:
        return None
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    measured = rows.measures[MEASURE]
    ends = np.array([*found.values.ravel(), *measured[np.isfinite(measured)]])
    norm = LogNorm(float(ends.min()), DARKEST * float(ends.max()))
    levels = np.geomspace(found.values.min(), found.values.max() * 1.0001, LINES)
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    spread = np.geomspace(found.values.min(), found.values.max() * 1.0001, 60)
    axes.contourf(found.depths, found.widths, found.values, spread, norm=norm, cmap="YlGn")
    lines = axes.contour(
        found.depths, found.widths, found.values, levels[1:-1], colors="#555555", linewidths=0.8
    )
    axes.clabel(lines, fmt=lambda value: f"{value:.2g}", fontsize=8)
    aside = np.random.default_rng(SEED).uniform(-APART, APART, len(designs))
    points = axes.scatter(
        np.array([len(design.layers) for design in designs]) + aside,
        [float(np.mean([layer.hidden for layer in design.layers])) for design in designs],
        c=measured,
        norm=norm,
        cmap="YlGn",
        edgecolors="black",
        linewidths=0.8,
        s=32,
        zorder=3,
    )
    figure.colorbar(points, ax=axes, label="latency, s")
    axes.set_xlim(*_with_margin(found.depths))
    axes.set_ylim(*_with_margin(found.widths))
    axes.set_xticks(sorted({len(design.layers) for design in designs}))
    axes.set_xlabel("layers")
    axes.set_ylabel("hidden size, mean of the layers")
    return figure


def _with_margin(values: np.ndarray) -> tuple[float, float]:
    margin = MARGIN * float(np.ptp(values))
    return float(values.min()) - margin, float(values.max()) + margin


def _as_wide(layer: Layer, hidden: int) -> Layer:
    return Layer(hidden, layer.heads, max(1, hidden // len(layer.heads)), layer.feed_forward)


def _rows(designs: Sequence[Architecture]) -> Rows:
    terms = [architecture_terms(design) for design in designs]
    return Rows(
        names=tuple(terms[0]),
        terms=np.array([list(one.values()) for one in terms]),
        memory=np.array([memory_bytes(one) for one in terms]),
        ids=tuple(map(str, range(len(designs)))),
        measures={},
        campaigns=("grid",) * len(designs),
        orders=np.full(len(designs), np.nan),
        setting={},
    )
