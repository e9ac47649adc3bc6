"""Pictures of a record: latency histogram, drift chart, power trace with its windows marked."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from edgetran_protos.measuring.judging import blocks_s
from edgetran_protos.measuring.machine import reference_levels_s
from edgetran_protos.measuring.power import Sensor, Trace
from edgetran_protos.measuring.series import (
    BLOCK,
    IDLE,
    REFERENCE,
    WARM_UP,
    Series,
    decode,
    join,
    phases,
)

from edgetran_host.measuring.record_directory import Record

SHOWN_SHARE = 0.995  # of the runs: a few stalls would squeeze all else into one bar
BINS = 80
COLOURS = {IDLE: "#d8dee4", WARM_UP: "#ffe2b3", REFERENCE: "#cfe8ff", BLOCK: "#d5f0d9"}
NAMES = {IDLE: "idle", WARM_UP: "warm-up", REFERENCE: "reference", BLOCK: "timed block"}


def pictures(record: Record) -> dict[str, bytes]:
    """Title -> PNG. An emulated board has nothing to draw."""
    if not record.pieces:
        return {}
    series, figures = join(decode(piece) for piece in record.pieces), record.document["figures"]
    found = {}
    if len(series["run_ns"]):
        found["Latency of every timed run"] = _histogram(series, figures or {})
        found["Drift: blocks beside the reference workload"] = _drift(series)
    if record.document["sensor"] is not None and len(series["power_ns"]) > 2:
        sensor = Sensor(**record.document["sensor"])
        found[f"Power: {sensor.name} ({sensor.scope})"] = _power(series, sensor, figures or {})
    return found


def _histogram(series: Series, figures: Mapping[str, Any]) -> bytes:
    figure, axes = _canvas()
    runs_ms = np.concatenate(blocks_s(series)) * 1e3
    last = float(np.quantile(runs_ms, SHOWN_SHARE))
    shown = runs_ms[runs_ms <= last]
    axes.hist(shown, bins=BINS, color="#4c8dd6")
    for name, colour in (("p50", "#1b1f24"), ("p90", "#b35900"), ("p99", "#b31d28")):
        quantity = figures.get(f"latency_{name}_s")
        if quantity is not None and quantity["value"] * 1e3 <= last * 1.02:
            value = quantity["value"] * 1e3
            axes.axvline(value, color=colour, label=f"{name} {value:.3g} ms")
            axes.axvspan(quantity["low"] * 1e3, quantity["high"] * 1e3, color=colour, alpha=0.15)
    hidden = len(runs_ms) - len(shown)
    axes.set_xlabel(f"ms a run ({hidden} of {len(runs_ms)} runs are slower than shown)")
    axes.set_ylabel("runs")
    axes.legend()
    return _png(figure)


def _drift(series: Series) -> bytes:
    """Each against its own median: what the model does and the reference does not is its own."""
    figure, axes = _canvas()
    blocks = blocks_s(series)
    medians = np.array([np.median(block) for block in blocks])
    low, high = (np.array([np.quantile(block, q) for block in blocks]) for q in (0.25, 0.75))
    usual = float(np.median(medians))
    at = np.arange(1, len(blocks) + 1)
    axes.fill_between(at, 100 * low / usual, 100 * high / usual, color="#1a7f37", alpha=0.15)
    axes.plot(at, 100 * medians / usual, "o-", color="#1a7f37", label="model, median of a block")
    reference = np.array(reference_levels_s(series))
    if len(reference):
        where = np.arange(len(reference)) + 0.5
        share = 100 * reference / np.median(reference)
        axes.plot(where, share, "s--", color="#4c8dd6", label="reference, before and after")
    axes.axhspan(90, 110, color="#57606a", alpha=0.06, label="more counts as drift")
    axes.set_xlabel("block")
    axes.set_ylabel("% of its own median")
    axes.set_xticks(at)
    axes.legend()
    return _png(figure)


def _power(series: Series, sensor: Sensor, figures: Mapping[str, Any]) -> bytes:
    figure, axes = _canvas()
    trace = Trace(series, sensor)
    zero_ns = int(series["power_ns"][0])
    for kind, colour in COLOURS.items():
        for number, (begun, ended) in enumerate(phases(series, kind)):
            label = NAMES[kind] if not number else None
            spans = ((begun - zero_ns) / 1e9, (ended - zero_ns) / 1e9)
            axes.axvspan(*spans, color=colour, label=label, linewidth=0)
    axes.plot((trace.watts_at_ns - zero_ns) / 1e9, trace.watts, color="#1b1f24", linewidth=0.7)
    for name, colour, label in (
        ("idle_power_w", "#57606a", "idle"),
        ("load_power_w", "#1a7f37", "mean under load"),
        ("peak_power_w", "#b31d28", "peak, 100 ms mean"),
    ):
        watts = figures.get(name)
        if watts is not None:
            axes.axhline(watts, color=colour, linestyle=":", label=f"{label} {watts:.3g} W")
    axes.set_xlabel("s")
    axes.set_ylabel("W")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return _png(figure)


def _canvas() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
