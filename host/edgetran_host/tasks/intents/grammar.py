"""The grammar as data: templates by intent and split, values of slots, habits of speech."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgetran_host.tasks.intents.templates import Template, parse

if sys.version_info >= (3, 11):
    import tomllib
else:  # the catalogue of boards brings it
    import tomli as tomllib

FOLDER = Path(__file__).with_name("grammar")
FAMILIES = ("lights", "climate", "time", "sound", "home", "shopping", "other")
TRAIN, DEV = SPLITS = ("train", "dev")


@dataclass(frozen=True)
class Values:
    """What a slot may say; `unseen` is for dev only."""

    usual: tuple[Template, ...]
    unseen: tuple[Template, ...]
    correctable: bool  # speakers may change their mind about it


@dataclass(frozen=True)
class Speech:
    openings: tuple[Template, ...]
    closings: tuple[Template, ...]
    asides: Values
    corrections: tuple[Template, ...]
    small_words: frozenset[str]  # a recogniser may lose them


@dataclass(frozen=True)
class Grammar:
    templates: Mapping[str, Mapping[str, tuple[str, ...]]]  # intent -> split -> as written
    slots: Mapping[str, Values]
    speech: Speech


@lru_cache(maxsize=1)
def grammar() -> Grammar:
    return Grammar(
        templates={
            intent: {split: _lines(found[split]) for split in SPLITS}
            for family in FAMILIES
            for intent, found in read(family).items()
        },
        slots={name: _values(found) for name, found in read("slots").items()},
        speech=_speech(read("speech")),
    )


def _values(found: Mapping[str, Any]) -> Values:
    return Values(
        _parsed(found["values"]),
        _parsed(found.get("unseen", ())),
        bool(found.get("correctable", False)),
    )


def _speech(found: Mapping[str, Any]) -> Speech:
    return Speech(
        _parsed(found["openings"]),
        _parsed(found["closings"]),
        _values(found["asides"]),
        _parsed(found["corrections"]),
        frozenset(found["small_words"]),
    )


def _parsed(texts: list[str] | tuple[str, ...]) -> tuple[Template, ...]:
    return tuple(map(parse, texts))


def _lines(block: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in block.splitlines() if line.strip())


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
