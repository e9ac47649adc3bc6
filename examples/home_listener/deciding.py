"""What to do with an utterance: act, ask back, or leave it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from edgetran import Prediction

OUT_OF_SCOPE = "out_of_scope"  # nothing that a house can do
STALE_S = 10.0  # what was said longer ago is not acted on any more
ACT, ASK_BACK, LEAVE, TOO_LATE = "act", "ask back", "leave", "too late"


@dataclass(frozen=True)
class Decision:
    heard: str
    intent: str
    sure: float
    verdict: str

    def line(self) -> str:
        return json.dumps({**asdict(self), "sure": round(self.sure, 3)})


def decide(heard: str, found: Prediction, least_sure: float) -> Decision:
    if found.label == OUT_OF_SCOPE:
        verdict = LEAVE
    else:
        verdict = ACT if found.score >= least_sure else ASK_BACK
    return Decision(heard, found.label, found.score, verdict)


def too_late(heard: str) -> Decision:
    return Decision(heard, "", 0.0, TOO_LATE)
