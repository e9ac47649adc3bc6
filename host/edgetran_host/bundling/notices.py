"""The licence texts and notices that go with a model made of somebody's weights."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

NAMES = ("LICENSE*", "LICENCE*", "NOTICE*")
MOST_BYTES = 1 << 20
TEXTS = {"apache-2.0": "Apache-2.0.txt"}  # asks for its text; weights often come without


def notices_of(folder: Path, licence: str) -> dict[str, bytes]:
    """By file name: those in the folder, else the licence's own text where it asks for one."""
    places = sorted({place for name in NAMES for place in folder.glob(name)})
    found = {
        place.name: place.read_bytes()
        for place in places
        if place.is_file() and place.stat().st_size <= MOST_BYTES
    }
    known = TEXTS.get(licence.lower())
    if known is not None and not any(name.startswith("LICEN") for name in found):
        found["LICENSE"] = files(__package__).joinpath("licences", known).read_bytes()
    return found
