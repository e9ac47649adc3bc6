"""The curve of a pre-training as a picture and a page."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path

import numpy as np

from edgetran_host.job.run_directory import write_atomically
from edgetran_host.pretraining.curve import of_kind, read_curve

PICTURE, PAGE = "curve.png", "report.html"
SMOOTHED = 0.05  # share of the curve that a mean is taken over


def draw(folder: Path) -> None:
    """OUT/curve.png, and OUT/report.html with it and the figures, if any are there yet."""
    from edgetran_host.job.report import STYLE

    picture = curve_picture(folder)
    write_atomically(folder / PICTURE, picture)
    source = base64.b64encode(picture).decode()
    body = ["<h1>Pre-training</h1>", f'<img alt="curve" src="data:image/png;base64,{source}">']
    for title, name in (("Figures", "result.json"), ("Request", "pretraining.json")):
        if (folder / name).exists():
            text = html.escape(json.dumps(json.loads((folder / name).read_bytes()), indent=1))
            body.append(f"<h2>{title}</h2><pre>{text}</pre>")
    page = (
        "<!doctype html><meta charset=utf-8><title>edgetran pre-training</title>"
        f"<style>{STYLE}</style>{''.join(body)}"
    )
    write_atomically(folder / PAGE, page.encode())


def curve_picture(folder: Path) -> bytes:
    """Perplexity over steps on a logarithmic axis, and the learning rate below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = read_curve(folder)
    figure = Figure(figsize=(9, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    steps, losses = of_kind(points, "loss")
    above.plot(steps, np.exp(losses), color="#4c8dd6", alpha=0.3, linewidth=0.8)
    above.plot(steps, np.exp(_smoothed(losses)), color="#4c8dd6", label="text learnt from")
    looked, held_out = of_kind(points, "held_out")
    above.plot(looked, np.exp(held_out), "o-", color="#1a7f37", label="held-out text")
    above.set_yscale("log")
    above.set_ylabel("perplexity of masked words")
    above.legend()
    below.plot(*of_kind(points, "rate"), color="#b35900")
    below.set_ylabel("learning rate")
    below.set_xlabel("steps")
    stream = io.BytesIO()
    canvas.print_png(stream)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def _smoothed(values: list[float]) -> np.ndarray:
    """A running mean of what came before, as long as there is."""
    width = max(1, round(SMOOTHED * len(values)))
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - width)
    means: np.ndarray = (sums[ends] - sums[begins]) / (ends - begins)
    return means
