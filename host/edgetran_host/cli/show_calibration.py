"""A calibration for a terminal: what each graph took, how the catalogue erred and errs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgetran_devices import UnitModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgetran_host.calibrating.running import Calibrated
from edgetran_host.cli.show import print_json

NO_MODEL = "no model"


def show_calibration(found: Calibrated, *, as_json: bool) -> None:
    if as_json:
        print_json(_json(found))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(found.name)}[/bold]: {escape(found.board.title)}, calibrated")
    if found.resumed:
        console.print(f"{found.resumed} graphs were measured by a command that was broken off")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    table.add_column("graph")
    for column in ("measured, ms", "catalogue before", "calibrated, unseen"):
        table.add_column(column, justify="right")
    for line in found.lines:
        table.add_row(
            line.name, f"{1e3 * line.latency_s:.3g}", _percent(line.before), _percent(line.after)
        )
    before = mean_error([line.before for line in found.lines])
    after = mean_error([line.after for line in found.lines])
    table.add_row("mean of sizes", "", _size(before), _size(after))
    console.print(table)
    for graph, reason in found.failed.items():
        console.print(f"left out: {graph}: {escape(reason)}")
    for label, text in _coefficients(found.unit):
        console.print(f"{label:<22} {text}")
    if found.no_energy:
        console.print(f"{'energy':<22} not calibrated: {found.no_energy}")
    console.print(f"entry: {found.entry}\nrecords: {found.records}  (edgetran verify)")


def mean_error(errors: Sequence[float | None]) -> float | None:
    """None: there was no model to err."""
    known = [abs(error) for error in errors if error is not None]
    return sum(known) / len(known) if known else None


def _coefficients(unit: UnitModel) -> list[tuple[str, str]]:
    times = [
        ("products, fp32", f"{unit.fp32_flops / 1e9:.3g} GFLOP/s"),
        ("products, int8", f"{unit.int8_ops / 1e9:.3g} GOP/s"),
        ("weights", f"{unit.bandwidth_bytes_s / 1e9:.3g} GB/s"),
        ("activations", f"{(unit.activation_bytes_s or 0) / 1e9:.3g} GB/s"),
        ("an operator", f"{unit.launch_s * 1e6:.3g} us"),
        ("an inference", f"{unit.overhead_s * 1e3:.3g} ms"),
        ("latency is within", _factor(unit.relative_error)),
    ]
    if unit.active_w is None or unit.idle_w is None or unit.peak_w is None:
        return times
    powers = f"{unit.idle_w:.3g} / {unit.active_w:.3g} / {unit.peak_w:.3g} W"
    return [
        *times,
        ("idle / active / peak", powers),
        ("an operation", f"{unit.operation_j * 1e12:.3g} pJ"),
        ("energy is within", _factor(unit.energy_error or 0.0)),
    ]


def _factor(error: float) -> str:
    return f"a factor of {1 + error:.2f} (90 %)"


def _percent(error: float | None) -> str:
    return NO_MODEL if error is None else f"{100 * error:+.0f} %"


def _size(error: float | None) -> str:
    return NO_MODEL if error is None else f"{100 * error:.0f} %"


def _json(found: Calibrated) -> dict[str, Any]:
    unit = {key: value for key, value in vars(found.unit).items() if key not in ("calibrations",)}
    return {
        "name": found.name,
        "board": found.board.board,
        "unit": {**unit, "measured": dict(found.unit.measured)},
        "graphs": [asdict(line) for line in found.lines],
        "mean_error_before": mean_error([line.before for line in found.lines]),
        "mean_error_after": mean_error([line.after for line in found.lines]),
        "failed": dict(found.failed),
        "resumed": found.resumed,
        "no_energy": found.no_energy,
        "entry": str(found.entry),
        "records": str(found.records),
    }
