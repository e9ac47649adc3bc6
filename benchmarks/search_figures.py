"""Convergence of searches as pictures: medians over seeds and quartiles, a method a colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

OURS = "boshcode"
DOTS_AN_INCH = 80


def draw(
    curves: Mapping[str, np.ndarray], title: str, along: tuple[str, np.ndarray], path: Path
) -> None:
    """curves: shares (seeds, n) by method; along: the axis's name, and (n,) where it stands."""
    from matplotlib.figure import Figure  # of the training extra

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    name, x = along
    for at, (method, found) in enumerate(sorted(curves.items(), key=_last, reverse=True)):
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75), axis=0)
        ours = method == OURS
        colour = "black" if ours else f"C{at % 10}"
        dashes = "-" if at < 10 else "--"
        label = f"{method} ({len(found)} seeds)"
        along_x = x[: found.shape[1]]
        axes.plot(along_x, middle, dashes, color=colour, lw=2.5 if ours else 1.3, label=label)
        axes.fill_between(along_x, low, high, color=colour, alpha=0.15 if ours else 0.07, lw=0)
    for share in (0.8, 0.9):
        axes.axhline(share, color="grey", lw=0.8, ls=":")
    axes.set(title=title, xlabel=name, ylabel="share of the gap", ylim=(0, 1.02), xlim=(0, x[-1]))
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=DOTS_AN_INCH)


def _last(item: tuple[str, np.ndarray]) -> float:
    return float(np.median(item[1][:, -1]))
