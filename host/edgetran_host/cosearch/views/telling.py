"""What the models of a search foretell, in words: gains in points of score, costs as factors."""

from __future__ import annotations

from edgetran_host.cosearch.figures import TITLES, UNKNOWN, figure
from edgetran_host.cosearch.sensitivity import Sensitivity, Spread

LEAST_FACTOR = 0.01  # that is told as a number
BINDING = 0.5  # share of draws in which lifting a limit shows


def limit_sentence(one: Sensitivity) -> str:
    """What a looser limit would buy, or that it does not bind."""
    limit = f"{TITLES[one.cost]} limit {figure(one.cost, one.limit)}"
    if one.gain is None or one.half is None or one.lifted is None:
        return f"{limit}: nothing is expected to keep the limits"
    lifted = f"without it {points(one.lifted)} points of score"
    if one.binds < BINDING:
        return f"{limit} does not bind: {lifted}"
    step = figure(one.cost, one.step)
    return (
        f"{limit}: {step} more buys {points(one.gain)}, half as much again {points(one.half)}, "
        f"{lifted}"
    )


def points(spread: Spread, digits: int = 2) -> str:
    """ "+0.52 [+0.10, +1.01]"."""
    mean, low, high = (f"{100 * one:+.{digits}f}" for one in (spread.mean, spread.low, spread.high))
    return f"{mean} [{low}, {high}]"


def factor(spread: Spread | None) -> str:
    """ "x1.4 [1.2, 1.6]"."""
    if spread is None:
        return UNKNOWN
    return f"x{_short(spread.mean)} [{_short(spread.low)}, {_short(spread.high)}]"


def between(name: str, spread: Spread | None) -> str:
    """ "156 to 179 ms"."""
    if spread is None:
        return UNKNOWN
    low, high = figure(name, spread.low), figure(name, spread.high)
    number, unit = low.split()
    return f"{number} to {high}" if unit == high.split()[1] else f"{low} to {high}"


def _short(value: float) -> str:
    if 0 < value < LEAST_FACTOR:
        return f"<{LEAST_FACTOR}"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
