"""The final table of a run as text: a column a model, sections by what a figure says.

The terminal and the report print the same cells. A `~` marks a modelled figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgetran_devices import RESIDENT

from edgetran_host.search.seeded_space import Design

MODELLED = "~"
MODELLED_NOTE = "~ modelled: from the board's model in the catalogue, not measured on a board"
NO_SENSOR = "no sensor"


@dataclass(frozen=True)
class Section:
    """Lines of one subject; each has a label and a cell a model."""

    title: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def columns(result: dict[str, Any]) -> list[str]:
    """The models, baseline first."""
    return [row["title"] for row in result["rows"]]


def sections(result: dict[str, Any]) -> list[Section]:
    found = [_quality(result), _size(result), _board(result, "target")]
    if "reference" in result["rows"][0]["measured"]:
        found.append(_board(result, "reference"))
    return found


def notes(result: dict[str, Any]) -> list[str]:
    """What must be read with the table."""
    found = []
    if any_modelled(result):
        found.append(MODELLED_NOTE)
    found.append(f"limits on the target: {_limits(result['search']['budget'])}")
    found += [
        f"not tried: {Design(**one['design']).label()}: {one['why']}"
        for one in result["search"].get("refused", [])  # runs of before have none
    ]
    found += _offers(result)
    found.append(
        f"floor: a bag of words reaches {percent(result['data']['floor'])} on the same rows"
    )
    return found


def _offers(result: dict[str, Any]) -> list[str]:
    """How the chosen model came to its runtime, where the target left a choice."""
    offers = result.get("offers", [])  # runs of before have none
    if len(offers) < 2:
        return []
    return ["variants of the chosen model on the target:", *map(_offer, offers)]


def _offer(offer: dict[str, Any]) -> str:
    if offer["left_out"]:
        return f"  {offer['variant']}: not offered: {offer['left_out']}"
    cells = (
        f"{figure(offer, 'latency_p50_s', 1e3)} ms",
        f"{100 * offer['scores']['value']:.2f} on dev",
        f"{0.0 - 100 * offer['accuracy_cost']:+.2f} by export on held-out rows",
        f"{offer['artefact_bytes'] / 1e6:.1f} MB",
    )
    return f"  {offer['variant']}: {', '.join(cells)}{' - serves' if offer['serves'] else ''}"


def _limits(budget: dict[str, Any]) -> str:
    units = {
        "max_latency_s": ("latency", 1e3, "ms"),
        "max_energy_j": ("energy", 1e3, "mJ"),
        "max_size_bytes": ("size", 1e-6, "MB"),
        "max_power_w": ("peak power", 1.0, "W"),
    }
    return ", ".join(
        f"{name} {budget[key] * factor:.1f} {unit}"
        for key, (name, factor, unit) in units.items()
        if budget[key] is not None
    )


def any_modelled(result: dict[str, Any]) -> bool:
    return any(record["modelled"] for row in result["rows"] for record in row["measured"].values())


def percent(scores: dict[str, Any]) -> str:
    """The score with its interval, in percent."""
    return f"{100 * scores['value']:.2f} {interval(scores)}"


def interval(scores: dict[str, Any]) -> str:
    return f"[{100 * scores['low']:.1f}, {100 * scores['high']:.1f}]"


def _quality(result: dict[str, Any]) -> Section:
    data, rows = result["data"], result["rows"]
    gained = [100 * (row["scores"]["value"] - row["trained_scores"]["value"]) for row in rows]
    return Section(
        f"{data['metric'].replace('_', ' and ')}, % of {data['rows']['dev']} dev rows",
        (
            ("score", tuple(f"{100 * row['scores']['value']:.2f}" for row in rows)),
            ("95 % interval", tuple(interval(row["scores"]) for row in rows)),
            ("changed by export", tuple(f"{points:+.2f}" for points in gained)),
            ("largest logit error", tuple(f"{row['max_abs_error']:.2g}" for row in rows)),
        ),
    )


def _size(result: dict[str, Any]) -> Section:
    rows = result["rows"]
    sizes = [row["artefact_bytes"] for row in rows]
    return Section(
        "size",
        (
            ("weights, M", tuple(f"{row['parameters'] / 1e6:.1f}" for row in rows)),
            ("graph and tokenizer, MB", tuple(f"{size / 1e6:.1f}" for size in sizes)),
            ("smaller", _ratios(sizes)),
        ),
    )


def _board(result: dict[str, Any], name: str) -> Section:
    board = result["boards"][name]
    records = [row["measured"][name] for row in result["rows"]]

    def cells(write: Callable[[dict[str, Any]], str]) -> tuple[str, ...]:
        return tuple(write(record) for record in records)

    lines = [
        ("latency p50, ms", cells(lambda record: figure(record, "latency_p50_s", 1e3))),
        ("latency p99, ms", cells(lambda record: figure(record, "latency_p99_s", 1e3))),
        ("faster", _ratios([record["latency_p50_s"]["value"] for record in records])),
    ]
    if name == "target" or records[0]["energy_j"]:
        lines += [
            ("energy, mJ", cells(lambda record: figure(record, "energy_j", 1e3))),
            ("peak power, W", cells(lambda record: figure(record, "peak_power_w", 1.0))),
        ]
    if any(record["verdict"] in ("suspect", "invalid") for record in records):
        lines.append(("verdict", cells(lambda record: str(record["verdict"]))))
    return Section(_board_title(board, records[0]), tuple(lines))


def _board_title(board: dict[str, Any], record: dict[str, Any]) -> str:
    threads = record["threads"]
    measured = f"measured, {threads} thread{'s' if threads > 1 else ''}"
    how = "EMULATED, modelled" if record["modelled"] else measured
    return f"{board['title']} ({board['unit']}): {how}{calibration_note(record)}"


def calibration_note(record: dict[str, Any]) -> str:
    """Which of an emulated board's models speaks, where it is not the usual one."""
    name = record.get("calibration", "")  # runs of before have none
    return "" if name in ("", RESIDENT) else f" ({name})"


def figure(record: dict[str, Any], name: str, factor: float) -> str:
    if record[name] is None:
        return NO_SENSOR
    value = record[name]["value"] * factor
    digits = 1 if value >= 100 else 2
    return (MODELLED if record["modelled"] else "") + f"{value:.{digits}f}"


def _ratios(values: list[float]) -> tuple[str, ...]:
    return tuple(f"{values[0] / value:.2f}x" for value in values)
