"""Texts whose answers are known, asked of a board's served model: golden rows, labelled rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgetran import AsyncBoard
from edgetran.results import Answer
from edgetran_protos.bundle import BundleCard
from edgetran_protos.errors import BoardError, UsageError

CLASSIFICATION = "classification"
BATCH_ROWS = 16

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Known:
    text: Text
    labels: frozenset[str]  # any of them is right
    low: float = -math.inf  # of a regression's score
    high: float = math.inf

    def fits(self, label: str, score: float) -> bool:
        return label in self.labels if self.labels else self.low <= score <= self.high


def golden_rows(card: BundleCard, variant: str) -> list[Known]:
    """As the probe accepts them: of logits within twice its tolerance either label is right."""
    accepted, found = card.golden.accepted(variant), []
    for texts, logits in zip(card.golden.texts, card.golden.logits[variant]):
        text: Text = (texts[0], texts[1]) if len(texts) == 2 else texts[0]
        if card.task != CLASSIFICATION:
            found.append(Known(text, frozenset(), logits[0] - accepted, logits[0] + accepted))
            continue
        best = max(logits)
        near = [n for n, value in zip(card.labels, logits) if best - value <= 2 * accepted]
        found.append(Known(text, frozenset(near)))
    return found


def labelled_rows(source: str, count: int, card: BundleCard) -> list[Known]:
    """Dev rows of a task, spread over them. Raises DataError, UsageError."""
    from edgetran_host.tasks import load_task

    if card.task != CLASSIFICATION:
        raise UsageError("canary rows are asked of classifiers", hint="leave --canary out")
    rows = load_task(source).dev
    step = max(1, len(rows) // count)
    found = []
    for row in rows[::step][:count]:
        text: Text = row.text if row.text_pair is None else (row.text, row.text_pair)
        label = str(row.label)
        if label not in card.labels:
            raise UsageError(
                f"{source} has the label {label!r}, the bundle knows {', '.join(card.labels)}",
                hint="give rows of the bundle's own task",
            )
        found.append(Known(text, frozenset([label])))
    return found


async def right_answers(board: AsyncBoard, model: str, digest: str, rows: Sequence[Known]) -> int:
    """Raises BoardError when another bundle answers."""
    right = 0
    for start in range(0, len(rows), BATCH_ROWS):
        part = rows[start : start + BATCH_ROWS]
        answer = await board.answer([row.text for row in part], model)
        _check(answer, digest)
        right += sum(row.fits(p.label, p.score) for row, p in zip(part, answer.predictions))
    return right


def _check(answer: Answer, digest: str) -> None:
    if answer.bundle_digest != digest:
        raise BoardError(
            f"{answer.bundle_digest} answers as {answer.model!r}, not what was deployed",
            hint="somebody else changes this board; `edgetran device info` says what serves",
        )
