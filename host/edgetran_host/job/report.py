"""report.html: one self-contained page with the run's figures and plots."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from typing import Any

from edgetran_host.job.figures import columns, notes, sections
from edgetran_host.job.run_directory import RunDirectory, write_atomically

SHOWN_SHARE = 0.98  # of the runs: a few stalls would squeeze all else into one bar
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24}
body{max-width:1000px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;width:100%;margin:1em 0}
td,th{border-bottom:1px solid #d8dee4;padding:.4em .6em;text-align:right}
td:first-child,th:first-child{text-align:left}.section th{padding-top:1.2em;font-style:italic}
td{white-space:nowrap}td:last-child{font-weight:600;background:#eef6ee}
.tree{padding-left:1em}.tree ul{padding-left:1.4em;border-left:1px solid #d8dee4}
.tree small{color:#57606a}.tree .left{color:#8c959f}
.note{color:#57606a;margin:.2em 0}img{max-width:100%}.emulated{background:#fff3cd;padding:.5em 1em}
"""


def write_report(run: RunDirectory, result: dict[str, Any]) -> None:
    """Writes RUN/report.html from the result and the stored measurements."""
    page = (
        f"<!doctype html><meta charset=utf-8><title>edgetran report</title>"
        f"<style>{STYLE}</style>{report_body(run, result)}"
    )
    write_atomically(run.path / "report.html", page.encode())


def report_body(run: RunDirectory, result: dict[str, Any]) -> str:
    """What the page of a run says, without its head."""
    measurements = run.stage("measurements") or {}
    plots = [("Search: score against cost", _search_plot(result))]
    samples = _latency_plot(result, measurements)
    if samples:
        plots.append(("Latency on this machine, every timed run", samples))
    body = [f"<h1>{html.escape(result['data']['task'])}</h1>", _boards(result), _table(result)]
    for title, picture in plots:
        body.append(f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{picture}">')
    if "refinement" in result:
        body.append(f"<h2>Refinement: each edit against its parent</h2>{_tree(result)}")
    config = html.escape(json.dumps(result["config"], indent=2))
    body.append(f"<h2>Request</h2><pre>{config}</pre>")
    return "".join(body)


def _tree(result: dict[str, Any]) -> str:
    from edgetran_host.refine.telling import tree_page  # which is built on jobs, reports included

    return tree_page(result["refinement"])


def _boards(result: dict[str, Any]) -> str:
    target = result["boards"]["target"]
    text = f"<p>Target: {html.escape(target['title'])} ({html.escape(target['unit'])})</p>"
    if target["emulated"]:
        text += (
            '<p class="emulated">The board was emulated: its times, energy and power (marked ~) '
            "are modelled, not measured. Figures without ~ were measured on this machine.</p>"
        )
    return text


def _table(result: dict[str, Any]) -> str:
    """A column a model, a line a figure; the chosen model is the last column."""
    lines = ["<table>", _line("th", "", columns(result))]
    for section in sections(result):
        span = f'colspan="{len(columns(result)) + 1}"'
        lines.append(f'<tr class="section"><th {span}>{html.escape(section.title)}</th></tr>')
        lines += [_line("td", label, cells) for label, cells in section.lines]
    lines.append("</table>")
    lines += [f'<p class="note">{html.escape(line)}</p>' for line in notes(result)]
    return "".join(lines)


def _line(tag: str, label: str, cells: Sequence[str]) -> str:
    found = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr><{tag}>{html.escape(label)}</{tag}>{found}</tr>"


def _search_plot(result: dict[str, Any]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    trials = [t for t in result["search"]["trials"] if t["score"] is not None]
    latency_ms = [t["cost"]["latency_s"] * 1e3 for t in trials]
    scores = [100 * t["score"] for t in trials]
    size = [t["cost"]["size_bytes"] / 1e6 for t in trials]
    points = axes.scatter(latency_ms, scores, c=size, cmap="viridis", s=70)
    figure.colorbar(points, ax=axes, label="artefact, MB")
    for trial, x, y in zip(trials, latency_ms, scores):
        design = trial["design"]
        label = f"{design['layers']}L {design['heads']}h {design['feed_forward']}"
        axes.annotate(label, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    x, y = _front(latency_ms, scores)
    axes.step(x, y, where="post", color="#57606a", linewidth=1, label="nothing faster beats it")
    seed = result["search"]["reference"]
    axes.scatter(
        [seed["cost"]["latency_s"] * 1e3],
        [100 * seed["score"]],
        marker="*",
        s=180,
        color="#b35900",
        label="seed, fp32",
    )
    best = result["search"]["best"]
    axes.scatter(
        [best["cost"]["latency_s"] * 1e3],
        [100 * best["score"]],
        s=200,
        facecolors="none",
        edgecolors="#1a7f37",
        linewidths=2,
        label="chosen",
    )
    modelled = " (modelled)" if seed["cost"]["modelled"] else ""
    axes.set_xlabel(f"latency on the target, ms{modelled}")
    axes.set_ylabel(f"{result['data']['metric']} on held-out rows, %")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return _png(figure)


def _front(costs: Sequence[float], scores: Sequence[float]) -> tuple[list[float], list[float]]:
    """What no cheaper one equals in score, by rising cost."""
    x: list[float] = []
    y: list[float] = []
    for cost, score in sorted(zip(costs, scores), key=lambda pair: (pair[0], -pair[1])):
        if not y or score > y[-1]:
            x.append(cost)
            y.append(score)
    return x, y


def _latency_plot(result: dict[str, Any], measurements: dict[str, Any]) -> str:
    from matplotlib.figure import Figure

    rows = []
    for row in result["rows"]:
        for record in measurements.get(row["key"], {}).values():
            if record["samples_s"]:
                rows.append((row["title"], [s * 1e3 for s in record["samples_s"]]))
    if not rows:
        return ""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    longest = max(sorted(samples)[int(SHOWN_SHARE * (len(samples) - 1))] for _, samples in rows)
    for title, samples in rows:
        axes.hist(
            samples,
            bins=120,
            range=(0, longest),
            histtype="stepfilled",
            alpha=0.5,
            label=title,
        )
    axes.set_xlabel(f"ms a run (up to the {SHOWN_SHARE:.0%} point of the slowest)")
    axes.set_ylabel("runs")
    axes.legend()
    axes.grid(alpha=0.3)
    return _png(figure)


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
