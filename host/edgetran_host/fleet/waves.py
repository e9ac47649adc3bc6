"""Which boards come when: "1,10%,100%" says how far each wave reaches, "lab,100%" names a group.

A number or a share is of the whole fleet and counts the boards of earlier waves, so the
example brings one board first, then a tenth of the fleet, then all of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from edgetran_protos.errors import UsageError

from edgetran_host.fleet.fleet_file import FleetBoard

DEFAULT = "1,10%,100%"
STEP = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<share>%?)")
EXAMPLE = "write it like 1,10%,100%, or with a group first: lab,100%"


def waves(text: str, boards: Sequence[FleetBoard]) -> list[list[str]]:
    """Names by wave; waves that bring nobody new are left out. Raises UsageError."""
    left = [board.name for board in boards]
    found: list[list[str]] = []
    for step in (part.strip() for part in text.split(",")):
        taken = _taken(step, boards, left)
        left = [name for name in left if name not in set(taken)]
        if taken:
            found.append(taken)
    if left:
        raise UsageError(
            f"the waves {text!r} leave {len(left)} of {len(boards)} boards out",
            hint="let the last one be 100%",
        )
    return found


def _taken(step: str, boards: Sequence[FleetBoard], left: list[str]) -> list[str]:
    groups = {group for board in boards for group in board.groups}
    if step in groups:
        members = {board.name for board in boards if step in board.groups}
        return [name for name in left if name in members]
    match = STEP.fullmatch(step)
    if match is None:
        known = f"; groups: {', '.join(sorted(groups))}" if groups else ""
        raise UsageError(f"{step!r} is no wave", hint=EXAMPLE + known)
    number = float(match["number"])
    whole = not match["share"]
    if number <= 0 or (whole and number != int(number)) or (not whole and number > 100):
        raise UsageError(f"{step!r} is no number of boards", hint=EXAMPLE)
    reach = int(number) if whole else math.ceil(len(boards) * number / 100)
    gone = len(boards) - len(left)
    if reach < gone and whole:
        raise UsageError(f"{step!r} reaches no further than the wave before it", hint=EXAMPLE)
    return left[: max(0, reach - gone)]
