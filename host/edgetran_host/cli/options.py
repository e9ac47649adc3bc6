"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

F = TypeVar("F", bound=Callable[..., Any])
RANDOM_SEED = click.IntRange(0, 2**32 - 1)  # what every generator takes, times a step's number too


class Finite(click.FloatRange):
    """Numbers of a range; neither infinity nor NaN, which every comparison lets pass."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no finite number.", param, ctx)
        return found


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(
        function
    )


def threads_option(function: F) -> F:
    return click.option(
        "--threads",
        type=click.IntRange(1, 256),
        default=None,
        help="Compute threads; default: the cores that are free.",
    )(function)


def attempts_option(function: F) -> F:
    return click.option(
        "--attempts",
        type=click.IntRange(1, 3),
        default=3,
        show_default=True,
        help="Measure again when the verdict may pass, at most so often in all.",
    )(function)


def patience_option(function: F) -> F:
    return click.option(
        "--patience",
        "patience_s",
        type=click.FloatRange(0),
        default=600.0,
        show_default=True,
        help="Seconds that a board may stay away before it is given up.",
    )(function)


def storage_option(function: F) -> F:
    return click.option(
        "--storage",
        default="",
        metavar="URL",
        help="Where the search's trials lie; needed when that address has a password.",
    )(function)


def rows_options(function: F) -> F:
    """How much of a task is trained on, and how much of each text."""
    length = click.option(
        "--sequence-length",
        type=click.IntRange(4, 512),
        default=None,
        help="Tokens a sentence; default: covers 99 % of the rows.",
    )
    rows = click.option(
        "--train-rows",
        type=click.IntRange(64),
        default=None,
        help="Use so many training rows only.",
    )
    return length(rows(function))
