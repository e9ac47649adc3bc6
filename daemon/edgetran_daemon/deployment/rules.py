"""What a daemon was told about its models: their changes, and how they serve."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgetran_daemon.serving.serving_rules import ServingRule

MAX_MODELS = 16


@dataclass(frozen=True)
class WatchRule:
    """A watch ends well after so long, or so many answers, whichever comes first."""

    seconds: float = 60.0  # 0: a switch is final at once
    requests: int = 200


@dataclass(frozen=True)
class Rules:
    watch: WatchRule = field(default_factory=WatchRule)
    place: str = ""  # whose promises can be checked here, e.g. "rpi4:cpu"; empty: nobody's
    strict_order: bool = False  # nothing older than what was committed, asked for or not
    max_models: int = MAX_MODELS
    serving: ServingRule = field(default_factory=ServingRule)
    steady_s: float = 30.0  # a daemon that ran so long has started well


DEFAULT_RULES = Rules()
