"""A record's figures as people read them: (label, text) lines, of the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetran_protos.measuring.reasons import REASONS

UNKNOWN = "not known"
MODELLED = "~"
NO_SENSOR = "no sensor"

Line = tuple[str, str]


def title(document: Mapping[str, Any]) -> str:
    facts = document["facts"]
    how = "EMULATED: modelled, not measured" if document["modelled"] else "measured"
    board = facts.get("title", facts["board"])
    return f"{facts['variant']} on {board} ({facts['unit']}), {how}"


def lines(document: Mapping[str, Any]) -> list[Line]:
    """Figures that there are, each with its unit."""
    facts, found = document["facts"], document["figures"] or {}
    mark = MODELLED if document["modelled"] else ""

    def shown(name: str, factor: float, unit: str) -> str:
        value = found.get(name)
        if value is None:
            return UNKNOWN
        if isinstance(value, Mapping):
            return mark + _interval(value, factor, unit)
        return f"{mark}{_number(value * factor)} {unit}"

    rows = [
        ("latency p50", shown("latency_p50_s", 1e3, "ms")),
        ("latency p95", shown("latency_p95_s", 1e3, "ms")),
        ("latency p99", shown("latency_p99_s", 1e3, "ms")),
    ]
    if not document["modelled"] and found:
        rows += [
            ("p99 at most, LoadGen's rule", shown("latency_p99_bound_s", 1e3, "ms")),
            ("mean, by batches", shown("latency_mean_s", 1e3, "ms")),
            ("runs", f"{found['runs']} in {found['blocks']} blocks, {_warm_up(found)}"),
            ("deviation of runs", f"{100 * found['latency_cv']:.1f} %"),
            ("deviation of blocks", f"{100 * found['blocks_cv']:.1f} %"),
            ("reference moved by", _percent(found["reference_range"])),
            ("waited for a core", _percent(found["waited_share"])),
            ("the daemon took", _percent(found["observer_share"], "of a core")),
            ("temperature", _range(found, "temperature_low_c", "temperature_high_c", 1, "C")),
            ("clock", _range(found, "clock_low_hz", "clock_high_hz", 1e-6, "MHz")),
        ]
    rows += _power_lines(document, shown)
    if name := facts.get("calibration"):
        rows.append(("calibration", str(name)))
    return [
        *rows,
        ("load time", f"{facts['load_s']:.2f} s"),
        ("peak memory", f"{facts['peak_memory_bytes'] / 2**20:.0f} MiB"),
        ("graph", f"{facts['artefact_bytes'] / 1e6:.2f} MB"),
        ("threads, batch, length", _shape(facts)),
        ("runtime", str(facts["runtime"])),
    ]


def reasons(document: Mapping[str, Any]) -> list[Line]:
    """(name, what it means)."""
    known = {name: reason.text for name, reason in REASONS.items()}
    return [(name, known.get(name, "")) for name in document["reasons"]]


def _power_lines(document: Mapping[str, Any], shown: Any) -> list[Line]:
    if document["modelled"]:
        return [
            ("energy an inference", shown("energy_j", 1e3, "mJ")),
            ("peak power", shown("peak_power_w", 1.0, "W")),
        ]
    if document["sensor"] is None:
        return [("energy, power", NO_SENSOR)]
    sensor = document["sensor"]
    return [
        ("power sensor", f"{sensor['name']} ({sensor['scope']}), {1 / sensor['period_s']:.0f} Hz"),
        ("energy an inference, gross", shown("energy_j", 1e3, "mJ")),
        ("energy an inference, net", shown("energy_net_j", 1e3, "mJ")),
        ("power idle", shown("idle_power_w", 1.0, "W")),
        ("power under load", shown("load_power_w", 1.0, "W")),
        ("peak power, 100 ms mean", shown("peak_power_w", 1.0, "W")),
    ]


def _interval(value: Mapping[str, Any], factor: float, unit: str) -> str:
    text = f"{_number(value['value'] * factor)} {unit}"
    if value["low"] is None:
        return text
    return f"{text} [{_number(value['low'] * factor)}, {_number(value['high'] * factor)}]"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(share: float | None, of: str = "") -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f} % {of}".rstrip()


def _range(found: Mapping[str, Any], low: str, high: str, factor: float, unit: str) -> str:
    if found[low] is None:
        return UNKNOWN
    ends = (f"{found[low] * factor:.0f}", f"{found[high] * factor:.0f}")
    return f"{ends[0]} {unit}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} {unit}"


def _warm_up(found: Mapping[str, Any]) -> str:
    steady = found["warm_up_steady_from"]
    after = "never steady" if steady is None else f"steady from {steady}"
    return f"after {found['warm_up_runs']} of warm-up ({after})"


def _shape(facts: Mapping[str, Any]) -> str:
    return f"{facts['threads']}, {facts['batch_size']}, {facts['sequence_length']}"
