"""`--stop-if "p99>20ms"`: what a board must not show, and `--stop-if "failed>5%"`: nor a wave."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgetran_protos.errors import UsageError

from edgetran_host.job.units import parse

METRICS = {  # word -> the figure it is of, and its unit's kind
    "p50": ("latency_p50_s", "latency"),
    "p95": ("latency_p95_s", "latency"),
    "p99": ("latency_p99_s", "latency"),
    "energy": ("energy_j", "energy"),
    "power": ("peak_power_w", "power"),
    "accuracy": ("accuracy", "share"),  # of the canary rows
    "agreement": ("agreement", "share"),  # with the bundle's golden rows
}
WAVE = ("failed", "unreachable")  # shares of the boards of a wave
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
FORM = re.compile(r"\s*([a-z0-9]+)\s*(>=|<=|>|<)\s*([0-9][^\s]*)\s*")
EXAMPLE = 'write it like "p99>20ms", "p99>1.2x" (of what is promised), "accuracy<90%", "failed>5%"'


@dataclass(frozen=True)
class Condition:
    text: str
    figure: str  # of a board, or one of WAVE
    comparison: str
    bound: float  # SI, a share, or a multiple of the promise
    relative: bool  # True: of the promise

    @property
    def of_wave(self) -> bool:
        return self.figure in WAVE

    def met(self, value: float | None, promised: float | None = None) -> bool:
        """None: not known, which meets nothing."""
        if value is None or (self.relative and promised is None):
            return False
        bound = self.bound * (promised or 0.0) if self.relative else self.bound
        return COMPARISONS[self.comparison](value, bound)


def condition(text: str) -> Condition:
    """Raises UsageError."""
    match = FORM.fullmatch(text.lower())
    if match is None:
        raise UsageError(f"{text!r} is no condition", hint=EXAMPLE)
    word, comparison, value = match.groups()
    if word not in METRICS and word not in WAVE:
        raise UsageError(
            f"{text!r}: nothing is called {word!r}", hint=f"known: {', '.join((*METRICS, *WAVE))}"
        )
    figure, kind = METRICS.get(word, (word, "share"))
    if value.endswith("x") and word in METRICS:
        return Condition(text.strip(), figure, comparison, _number(value[:-1], text), True)
    bound = _share(value, text) if kind == "share" else parse(kind, value)
    return Condition(text.strip(), figure, comparison, bound, False)


def _share(value: str, text: str) -> float:
    share = _number(value[:-1], text) / 100 if value.endswith("%") else _number(value, text)
    if share > 1:
        raise UsageError(f"{text!r}: {value} is no share", hint=EXAMPLE)
    return share


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError as exc:
        raise UsageError(f"{text!r}: {value!r} is no number", hint=EXAMPLE) from exc
