"""Options of a rollout to a fleet, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from edgetran_host.fleet.fleet_file import Fleet
    from edgetran_host.fleet.plan import Pace, Plan

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RolloutOptions:
    fleet: Path | None
    waves: str
    stop_if: tuple[str, ...]
    max_failures: str
    on_halt: str
    slack: float
    canary: str
    canary_rows: int
    measured: bool
    soak_s: float
    dry_run: bool
    follow: bool
    at_once: int
    patience_s: float

    def plan(self, bundle: Path, fleet: Fleet, name: str, allow_older: bool) -> Plan:
        """Raises UsageError, BundleError."""
        from edgetran_protos.bundle import Bundle

        from edgetran_host.fleet.plan import Plan

        found = Bundle.open(bundle)
        return Plan(
            bundle=str(bundle.absolute()),
            digest=found.digest,
            model=name or fleet.model or found.card.name,
            waves=self.waves,
            stop_if=self.stop_if,
            max_failures=self.max_failures,
            on_halt=self.on_halt,
            slack=self.slack / 100,
            canary=self.canary,
            canary_rows=self.canary_rows if self.canary else 0,
            measured=self.measured,
            soak_s=self.soak_s,
            allow_older=allow_older,
        )

    def pace(self) -> Pace:
        from edgetran_host.fleet.plan import Pace

        return Pace(at_once=self.at_once, patience_s=self.patience_s)


def pace_options(function: F) -> F:
    for option in reversed(
        (
            click.option(
                "--at-once",
                type=click.IntRange(1, 1000),
                default=16,
                show_default=True,
                help="Boards of a fleet under way.",
            ),
            click.option(
                "--away",
                "patience_s",
                type=click.FloatRange(0),
                default=60.0,
                show_default=True,
                help="Seconds that a board of a fleet may stay away, or be busy.",
            ),
        )
    ):
        function = option(function)
    return function


def rollout_options(function: F) -> F:
    options = (
        click.option(
            "--fleet",
            type=click.Path(path_type=Path, dir_okay=False),
            default=None,
            help="Deploy the bundle to the boards of this file, in waves.",
        ),
        click.option(
            "--waves",
            default="1,10%,100%",
            show_default=True,
            help="How far each wave reaches: boards, shares, names of groups.",
        ),
        click.option(
            "--stop-if",
            multiple=True,
            metavar="CONDITION",
            help='A board fails by "p99>20ms", "accuracy<90%"; a wave by "failed>5%".',
        ),
        click.option(
            "--max-failures",
            default="0",
            show_default=True,
            help="Boards of a wave that may fail, or a share (5%).",
        ),
        click.option(
            "--on-halt",
            type=click.Choice(["rollback", "rollback-all", "keep"]),
            default="rollback",
            show_default=True,
            help="Take back what the wave changed, what all did, or nothing.",
        ),
        click.option(
            "--slack",
            type=click.FloatRange(0),
            default=10.0,
            show_default=True,
            help="Percent by which a figure may miss what the bundle promises.",
        ),
        click.option(
            "--canary", default="", metavar="TASK", help="Ask every board dev rows of a task."
        ),
        click.option(
            "--canary-rows",
            type=click.IntRange(1, 10_000),
            default=100,
            show_default=True,
            help="Of the dev rows of --canary.",
        ),
        click.option(
            "--measure/--no-measure",
            "measured",
            default=True,
            help="Whether each board's times and energy are measured.",
        ),
        click.option(
            "--soak",
            "soak_s",
            type=click.FloatRange(0),
            default=0.0,
            show_default=True,
            help="Seconds after a wave, before its boards are asked again.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say what would happen."),
        click.option("--follow", is_flag=True, help="Stay until no board is missing."),
    )
    for option in reversed(options):
        function = option(function)
    return pace_options(function)
