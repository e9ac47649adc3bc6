"""Surrogates that come with edgetran, fitted on published measurements (see their NOTICE).

They are starting points: their costs hold for the software of 2022 and for whole processes,
start-up included. Recalibrate them by a few rows of your own, or let a new board borrow them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import edgetran_devices
from edgetran_devices.calibration import PUBLISHED
from edgetran_protos.errors import DataError

from edgetran_host.surrogates.storing import load
from edgetran_host.surrogates.surrogate import Surrogate

FOLDER = PUBLISHED  # their costs are those of the published calibrations


def shipped_names() -> tuple[str, ...]:
    """As "board:unit"."""
    return tuple(sorted(path.stem.replace(".", ":") for path in FOLDER.glob("*.json")))


def load_shipped(name: str) -> Surrogate:
    """Raises DataError for a name that is none of shipped_names()."""
    if name not in shipped_names():
        raise DataError(
            f"no surrogate of {name!r} comes with edgetran",
            hint=f"known: {', '.join(shipped_names())}",
        )
    return load(FOLDER / f"{name.replace(':', '.')}.json")


def find_model(word: str) -> Surrogate:
    """A file, or a shipped surrogate by the name of its board. Raises DataError."""
    path = Path(word)
    if path.exists():
        return load(path)
    try:
        board, unit = edgetran_devices.resolve(word)
    except edgetran_devices.UnknownBoard as unknown:
        raise DataError(
            f"{word} does not exist",
            hint=f"give a file, or one of {', '.join(shipped_names())}",
        ) from unknown
    return load_shipped(f"{board.id}:{unit}")


def datasheet(board: str) -> tuple[str, edgetran_devices.UnitModel | None]:
    """The id and unit behind "nano" or "nano:gpu"; nothing of "". Raises DataError."""
    if not board:
        return "", None
    try:
        spec, unit = edgetran_devices.resolve(board)
    except edgetran_devices.UnknownBoard as unknown:
        raise DataError(str(unknown), hint=unknown.hint) from unknown
    return spec.id, spec.units.get(unit)


def others_than(board: str) -> list[Surrogate]:
    """Shipped surrogates of other boards; all of them when `board` is empty."""
    return [load_shipped(name) for name in shipped_names() if name.partition(":")[0] != board]


def others_with_datasheets(
    board: str,
) -> list[tuple[Surrogate, edgetran_devices.UnitModel]]:
    """The same with what the catalogue says of each."""
    found = []
    for name in shipped_names():
        unit = datasheet(name)[1]
        if name.partition(":")[0] != board and unit is not None:
            found.append((load_shipped(name), unit))
    return found


def datasheets() -> list[edgetran_devices.UnitModel]:
    """Every unit that the catalogue has rates of: what processors may be like."""
    boards = [edgetran_devices.load_board(name) for name in edgetran_devices.names()]
    return [unit for board in boards for unit in board.units.values()]


def bare(surrogate: Surrogate) -> Surrogate:
    """Without what belongs to its own campaign, small enough to ship."""
    measures = {
        name: replace(
            one,
            model=replace(
                one.model,
                drift=None,
                residual=None,
                effects=replace(one.model.effects, drift="", residual=False),
            ),
        )
        for name, one in surrogate.measures.items()
    }
    return replace(surrogate, measures=measures, campaigns=())
