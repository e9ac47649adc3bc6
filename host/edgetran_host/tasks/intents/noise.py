"""What a speech recogniser makes of a sentence: misheard, lost, doubled and cut-off words.

Words that decide the intent stay whole, and only small words are ever lost entirely, so
that a person can still tell what was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from edgetran_host.tasks.intents.drawing import chance, pick, shuffled
from edgetran_host.tasks.intents.grammar import grammar, read
from edgetran_host.tasks.intents.templates import Word

NOISY = 0.6  # of all sentences
MORE = 0.4  # chance of a further slip, after each
MOST = 3  # slips a sentence
FEWEST_WORDS = 4  # shorter sentences lose nothing
LEAST_CUT = 5  # letters of a word whose end may be cut off
LEFT_OF_CUT = 3

Words = tuple[Word, ...]
Slip = Callable[[Words, Random], "Words | None"]  # None: it cannot happen to these words


@dataclass(frozen=True)
class Hearing:
    """What may be heard for a word, or for two neighbours."""

    sounds: Mapping[str, tuple[str, ...]]
    compounds: Mapping[tuple[str, ...], tuple[str, ...]]  # both ways
    fillers: tuple[str, ...]


@lru_cache(maxsize=1)
def hearing() -> Hearing:
    found = read("noise")
    pairs = [(tuple(a.split()), tuple(b.split())) for a, b in found["compounds"].items()]
    return Hearing(
        {word: tuple(heard) for word, heard in found["sounds"].items()},
        {**dict(pairs), **{b: a for a, b in pairs}},
        tuple(found["fillers"]),
    )


def hear(words: Words, rng: Random) -> str:
    """The sentence as recognised: with one to three slips in most cases, else as spoken."""
    slips = MOST if chance(rng, NOISY) else 0
    while slips:
        words = _slip(words, rng)
        slips = slips - 1 if chance(rng, MORE) else 0
    return spoken(words)


def spoken(words: Words) -> str:
    return " ".join(word.text for word in words)


def _slip(words: Words, rng: Random) -> Words:
    """The first slip, in random order, that can happen; a filler always can."""
    found = (slip(words, rng) for slip in shuffled(rng, SLIPS))
    return next(changed for changed in found if changed is not None)


def mishear(words: Words, rng: Random) -> Words | None:
    sounds = hearing().sounds
    at = _any(rng, [i for i, w in enumerate(words) if w.text in sounds and not w.decides])
    return None if at is None else _put(words, at, 1, *pick(rng, sounds[words[at].text]).split())


def join_or_split(words: Words, rng: Random) -> Words | None:
    compounds = hearing().compounds
    spans = [(at, size) for size in (1, 2) for at in range(len(words) - size + 1)]
    found = [(at, size) for at, size in spans if _texts(words, at, size) in compounds]
    if not found:
        return None
    at, size = pick(rng, found)
    return _put(words, at, size, *compounds[_texts(words, at, size)])


def lose(words: Words, rng: Random) -> Words | None:
    small = grammar().speech.small_words
    at = _any(rng, [i for i, w in enumerate(words) if w.text in small and not w.decides])
    return None if at is None or len(words) < FEWEST_WORDS else _put(words, at, 1)


def double(words: Words, rng: Random) -> Words | None:
    at = int(rng.random() * len(words))
    return (*words[:at], words[at], *words[at:])


def hesitate(words: Words, rng: Random) -> Words | None:
    at = int(rng.random() * len(words))
    return _put(words, at, 0, pick(rng, hearing().fillers))


def cut_off(words: Words, rng: Random) -> Words | None:
    """The recogniser stops listening within the last word."""
    last = words[-1]
    if last.decides or len(last.text) < LEAST_CUT:
        return None
    spare = len(last.text) - LEFT_OF_CUT
    return _put(words, len(words) - 1, 1, last.text[: LEFT_OF_CUT + int(rng.random() * spare)])


SLIPS: tuple[Slip, ...] = (  # a slip named twice is twice as likely
    mishear,
    mishear,
    mishear,
    join_or_split,
    lose,
    lose,
    double,
    hesitate,
    cut_off,
)


def _any(rng: Random, places: list[int]) -> int | None:
    return pick(rng, places) if places else None


def _texts(words: Words, at: int, size: int) -> tuple[str, ...]:
    """The span's words; none when one of them decides."""
    span = words[at : at + size]
    return () if any(word.decides for word in span) else tuple(word.text for word in span)


def _put(words: Words, at: int, size: int, *texts: str) -> Words:
    """`texts` in place of `size` words."""
    return (*words[:at], *map(Word, texts), *words[at + size :])
