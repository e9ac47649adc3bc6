"""Prints what power sensors state and what a test showed of one."""

from __future__ import annotations

from dataclasses import asdict

from edgetran.results import BoardInfo, SensorReport
from rich.console import Console
from rich.markup import escape

from edgetran_host.cli.show import print_json


def show_sensors(board: BoardInfo, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(sensor) for sensor in board.sensors])
        return
    console = Console(highlight=False, soft_wrap=True, emoji=False)  # ":BUS:" is no bus
    console.print(f"[bold]{escape(board.title)}[/bold]")
    for sensor in board.sensors:
        ready = "in use" if sensor.in_use else "ready"
        console.print(f"[bold]{sensor.name}[/bold]  {escape(sensor.unavailable) or ready}")
        if sensor.unavailable:
            continue
        counts = "counts joules" if sensor.counts_energy else "watts, integrated"
        console.print(f"  scope      {sensor.scope}: {escape(sensor.covers)}")
        console.print(f"  rate       {sensor.rate_hz:.3g} a second, {counts}")
        console.print(f"  bandwidth  {sensor.bandwidth_hz:.3g} Hz")
        console.print(f"  clock      {escape(sensor.clock)}")
        console.print(f"  overhead   {escape(sensor.overhead)}")


def show_sensor_report(report: SensorReport, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(report), "passed": report.passed})
        return
    print(f"{report.sensor}: {'passed' if report.passed else 'FAILED'}")
    for reason in report.reasons:
        print(f"  {reason}")
    if report.idle_w is not None and report.load_w is not None:
        noise = f", noise {report.noise_w:.3g} W" if report.noise_w is not None else ""
        print(f"  idle {report.idle_w:.3f} W, all cores at work {report.load_w:.3f} W{noise}")
    if report.delay_s is not None:
        print(f"  {report.delay_s:.3f} s behind the load, {report.allowed_delay_s:.3f} s allowed")
    print(
        f"  {report.rate_hz:.3g} new readings a second ({report.stated_rate_hz:.3g} stated), "
        f"{report.stale_share:.0%} of the looks stale, {report.repeated_share:.0%} repeated, "
        f"{report.faults} faults"
    )
