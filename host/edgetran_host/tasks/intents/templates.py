"""Templates of sentences: their notation, parsed once and then drawn from.

(a|b)    one of them          [a|b]    one of them, or nothing
{room}   a value of the slot  word!    decides the intent: noise leaves it whole
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TypeAlias

from edgetran_protos.errors import DataError

TOKEN = re.compile(r"[()\[\]|]|\{\w+!?\}|[^\s()\[\]|{}!]+!?")
CLOSING = {"(": ")", "[": "]"}


@dataclass(frozen=True)
class Word:
    text: str
    decides: bool = False


@dataclass(frozen=True)
class Slot:
    name: str
    decides: bool = False


@dataclass(frozen=True)
class Choice:
    options: tuple[Template, ...]


Template: TypeAlias = "tuple[Word | Slot | Choice, ...]"


@lru_cache(maxsize=None)
def parse(text: str) -> Template:
    """Raises DataError when brackets do not match or a sign is unknown."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != "".join(text.split()):
        raise DataError(f"template {text!r}: write {{slot}}, {{slot!}}, word or word!")
    options, rest = _options(tokens)
    if rest or len(options) != 1:
        raise DataError(f"template {text!r}: brackets do not match")
    return options[0]


def expansions(template: Template) -> Iterator[str]:
    """Every sentence the template can make, with slots left as they are."""
    parts = [_expansions(part) for part in template]
    for chosen in product(*parts):
        yield " ".join(word for word in chosen if word)


def _expansions(part: Word | Slot | Choice) -> list[str]:
    if isinstance(part, Choice):
        return [text for option in part.options for text in expansions(option)]
    return [part.text if isinstance(part, Word) else f"{{{part.name}}}"]


def _options(tokens: list[str]) -> tuple[list[Template], list[str]]:
    """Alternatives up to the closing bracket, and what follows."""
    options: list[Template] = []
    current: Template = ()
    while tokens and tokens[0] not in CLOSING.values():
        token, tokens = tokens[0], tokens[1:]
        if token == "|":
            options, current = [*options, current], ()
        elif token in CLOSING:
            inner, tokens = _options(tokens)
            if tokens[:1] != [CLOSING[token]]:
                return [], [token]  # never closed: an error for `parse`
            either = Choice(tuple(inner))
            current, tokens = (
                (*current, Choice(((), (either,))) if token == "[" else either),
                tokens[1:],
            )
        else:
            current = (*current, _leaf(token))
    return [*options, current], tokens


def _leaf(token: str) -> Word | Slot:
    make: Callable[[str, bool], Word | Slot] = Slot if token.startswith("{") else Word
    name = token.strip("{}")
    return make(name.removesuffix("!"), name.endswith("!"))
