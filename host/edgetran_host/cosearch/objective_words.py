"""The words of an objective, as "score=0.5,latency=0.2,energy=0.2,peak=0.1" or "front"."""

from __future__ import annotations

import difflib
import math

from edgetran_protos.errors import UsageError

from edgetran_host.cosearch.goal import Weights

FRONT = "front"
USUAL = "score=0.5,latency=0.2,energy=0.2,peak=0.1"
SCALE = "scale"
USUAL_SCALE = 0.04  # of a score: four points weigh as a factor e of all costs
FIELDS = {
    "score": "score",
    "latency": "latency_s",
    "energy": "energy_j",
    "peak": "peak_power_w",
    "size": "size_bytes",
}
EXAMPLE = f'write it like "{USUAL}", or {FRONT}'


def parse_objective(text: str) -> tuple[Weights, float, bool]:
    """Weights, the scale of the score, whether all trade-offs are looked for. UsageError."""
    if text.strip() == FRONT:
        return Weights(), USUAL_SCALE, True
    given: dict[str, float] = {}
    for part in text.split(","):
        word, equals, number = (piece.strip() for piece in part.partition("="))
        if word not in (*FIELDS, SCALE):
            raise UsageError(f"{word!r} is no word of an objective", hint=_closest(word))
        if word in given:
            raise UsageError(f"the objective says {word} twice", hint=EXAMPLE)
        given[word] = _number(word, number if equals else "")
    scale = given.pop(SCALE, USUAL_SCALE)
    if scale <= 0 or not any(given.values()):
        raise UsageError("the objective weighs nothing", hint=EXAMPLE)
    named = dict.fromkeys(FIELDS.values(), 0.0)
    named |= {FIELDS[word]: weight for word, weight in given.items()}
    return Weights(**named), scale, False


def _number(word: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise UsageError(f"{word}={text}: {text!r} is no number", hint=EXAMPLE) from exc
    if not math.isfinite(value) or value < 0:
        raise UsageError(f"{word}={text}: weights are 0 or more", hint=EXAMPLE)
    return value


def _closest(word: str) -> str:
    alike = difflib.get_close_matches(word, (*FIELDS, SCALE, FRONT), n=1)
    guess = f"did you mean {alike[0]!r}? " if alike else ""
    return f"{guess}words: {', '.join((*FIELDS, SCALE))}; {EXAMPLE}"
