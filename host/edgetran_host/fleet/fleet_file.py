"""fleet.toml: which boards belong to a fleet, where they are, what holds for each.

    name = "kitchens"
    model = "intents"                  # to serve under; default: the bundle's own name

    [groups.ovens]                     # holds for all boards of the group
    precision = "int8"

    [[boards]]
    name = "oven-7"
    address = "192.0.2.7:50051"        # default: the board of this name in the address book
    groups = ["ovens", "lab"]
    max_p99 = "40ms"

What a board says itself wins over its groups, of which the first named wins. A secret is in
none of this: whoever was paired with a board (`edgetran device pair`) reaches it as ever.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgetran.addresses import NAME, AddressBook, is_address
from edgetran_protos.bundle import BundleCard, Variant, check_model_name
from edgetran_protos.errors import UnknownVariant, UsageError

from edgetran_host.job.units import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIMITS = {"max_p99": "latency", "max_energy": "energy", "max_power": "power"}
WORDS = ("variant", "runtime", "precision")
TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[a-z]+)?")  # as "nano" and "nano:gpu"
TOP = ("name", "model", "boards", "groups")
BOARD = ("name", "address", "groups", *WORDS, *LIMITS)


@dataclass(frozen=True)
class Wishes:
    """What holds for one board or group; None: nothing is said."""

    variant: str | None = None  # of the bundle; names runtime and precision at once
    runtime: str | None = None
    precision: str | None = None
    max_p99: float | None = None  # seconds
    max_energy: float | None = None  # joules an inference
    max_power: float | None = None  # watts

    def or_else(self, other: Wishes) -> Wishes:
        """The other's where nothing is said here."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{name: value for name, value in said.items() if value is not None})

    def of(self, card: BundleCard) -> Variant | None:
        """The variant that is wished for; None: the board chooses. Raises UnknownVariant."""
        if self.variant is not None:
            return card.variant(self.variant)
        if self.runtime is None and self.precision is None:
            return None
        for variant in card.variants:
            fits = self.runtime in (None, variant.runtime)
            if fits and self.precision in (None, variant.precision):
                return variant
        wish = " ".join(filter(None, (self.runtime, self.precision)))
        names = ", ".join(variant.name for variant in card.variants)
        raise UnknownVariant(f"bundle {card.name} has no {wish} variant", hint=f"it has: {names}")


@dataclass(frozen=True)
class FleetBoard:
    name: str
    address: str  # HOST:PORT, unix:PATH, or a target of `edgetran.connect`
    groups: tuple[str, ...]
    wishes: Wishes


@dataclass(frozen=True)
class Fleet:
    path: Path
    name: str
    model: str  # empty: the bundle's own
    boards: tuple[FleetBoard, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(group for board in self.boards for group in board.groups))


def read_fleet(path: Path) -> Fleet:
    """Raises UsageError naming the entry and what is wrong with it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise UsageError(f"{path} does not exist", hint="see docs/fleets.md for one") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is no TOML: {exc}", hint="see docs/fleets.md for one") from exc
    _known(raw, TOP, str(path))
    name = _text(raw, "name", str(path)) or path.stem
    model = _text(raw, "model", str(path)) or ""
    if model:
        check_model_name(model)
    entries = raw.get("boards")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path} has no boards", hint="add one: [[boards]] with name and address")
    groups = _groups(raw.get("groups", {}), path)
    book = AddressBook.default().entries()
    boards = tuple(_board(one, n, groups, book, path) for n, one in enumerate(entries, 1))
    _once([board.name for board in boards], "name", path)
    _once([board.address for board in boards], "address", path)
    return Fleet(path, name, model, boards)


def _groups(raw: Any, path: Path) -> Mapping[str, Wishes]:
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: groups is no table", hint="write [groups.NAME]")
    return {name: _wishes(one, f"{path}: group {name}", ()) for name, one in raw.items()}


def _board(
    raw: Any, number: int, groups: Mapping[str, Wishes], book: Mapping[str, str], path: Path
) -> FleetBoard:
    where = f"{path}: board {number}"
    name = _text(raw, "name", where) if isinstance(raw, dict) else None
    if not name or not NAME.fullmatch(name):
        raise UsageError(
            f"{where} has no name that can be one", hint='name = "kitchen-1": letters, digits, ._-'
        )
    where = f"{path}: board {name}"
    own = _wishes(raw, where, ("name", "address", "groups"))
    mine = raw.get("groups", [])
    if not isinstance(mine, list) or not all(isinstance(one, str) for one in mine):
        raise UsageError(f"{where}: groups is no list of names", hint='groups = ["lab"]')
    for group in mine:
        own = own.or_else(groups.get(group, Wishes()))
    address = _text(raw, "address", where) or book.get(name, "")
    if not address:
        raise UsageError(
            f"{where} has no address, and the address book knows no {name}",
            hint=f'address = "HOST:PORT", or edgetran device add {name} HOST:PORT',
        )
    if not is_address(address) and not TARGET.fullmatch(address):
        raise UsageError(
            f"{where}: {address!r} is not an address",
            hint="write HOST:PORT, e.g. 192.0.2.7:50051, unix:PATH or a target",
        )
    return FleetBoard(name, address, tuple(mine), own)


def _wishes(raw: Any, where: str, beside: tuple[str, ...]) -> Wishes:
    if not isinstance(raw, dict):
        raise UsageError(f"{where} is no table", hint="see docs/fleets.md")
    _known(raw, (*beside, *WORDS, *LIMITS), where)
    return Wishes(
        variant=_text(raw, "variant", where),
        runtime=_text(raw, "runtime", where),
        precision=_text(raw, "precision", where),
        max_p99=_limit(raw, "max_p99", where),
        max_energy=_limit(raw, "max_energy", where),
        max_power=_limit(raw, "max_power", where),
    )


def _limit(raw: Mapping[str, Any], key: str, where: str) -> float | None:
    text = _text(raw, key, where)
    try:
        return None if text is None else parse(LIMITS[key], text)
    except UsageError as exc:
        raise UsageError(f"{where}: {key}: {exc}", hint=exc.hint) from exc


def _known(raw: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in raw:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(
                f"{where}: unknown key {key!r}", hint=f"{hint}known: {', '.join(keys)}"
            )


def _text(raw: Mapping[str, Any], key: str, where: str) -> str | None:
    value = raw.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise UsageError(f"{where}: {key} is {value!r}, must be text", hint=f'{key} = "..."')
    return value


def _once(values: list[str], what: str, path: Path) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise UsageError(f"{path}: two boards have the {what} {value}", hint="keep one of them")
