"""Spells the pieces of one tokenizer with those of another, whose embedding rows they start from.

A piece is its bytes and whether a word begins with it. WordPiece writes the beginning
bare and marks what goes on; byte-level BPE writes the space before a word into the piece.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer, pre_tokenizers

from edgetran_host.vocabulary import TRIMMABLE, continuation, kind_of, references

SPACE = b" "
LETTER = "a"  # stands before a piece inside a word, to see where the word is parted


def _characters() -> dict[int, str]:
    """Byte -> the character that stands for it in byte-level pieces."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + at) for at, byte in enumerate(others)
    }


CHARACTERS = _characters()
BYTES = {character: byte for byte, character in CHARACTERS.items()}
assert set(BYTES) == set(pre_tokenizers.ByteLevel.alphabet())


@dataclass(frozen=True)
class Spelling:
    content: bytes
    begins: bool  # a word


@dataclass(frozen=True)
class _Vocabulary:
    """One tokenizer.json, taken apart."""

    tokenizer: Tokenizer
    raw: Mapping[str, Any]

    @staticmethod
    def read(tokenizer_json: bytes) -> _Vocabulary:
        raw = json.loads(tokenizer_json)
        if kind_of(raw) not in TRIMMABLE:
            raise UsageError(
                f"the pieces of a {kind_of(raw)} vocabulary cannot be spelt",
                hint=f"only those of {' and '.join(TRIMMABLE)} vocabularies can",
            )
        return _Vocabulary(Tokenizer.from_str(tokenizer_json.decode()), raw)

    @property
    def kind(self) -> str:
        return kind_of(self.raw)

    @property
    def ids(self) -> dict[str, int]:
        """Added tokens too."""
        found: dict[str, int] = self.tokenizer.get_vocab()
        return found

    def named(self) -> set[int]:
        """Ids with a meaning of their own, spelt by nothing else."""
        return {holder[key] for holder, key in references(dict(self.raw))}


def spell(new_json: bytes, old_json: bytes) -> tuple[tuple[int, ...], ...]:
    """For each new id the old ids that spell its piece; () where none do."""
    new, old = _Vocabulary.read(new_json), _Vocabulary.read(old_json)
    named, ids = new.named(), old.ids
    found: dict[int, tuple[int, ...]] = {}
    for piece, at in new.ids.items():
        if piece in ids and (at in named or new.kind == old.kind):
            found[at] = (ids[piece],)
        elif at in named:
            found[at] = ()
        else:
            found[at] = WRITE[old.kind](old, READ[new.kind](new, piece))
    return tuple(found.get(at, ()) for at in range(max(found, default=-1) + 1))


def _read_word_piece(new: _Vocabulary, piece: str) -> Spelling:
    mark = continuation(new.raw)
    inside = piece.startswith(mark) and piece != mark
    return Spelling(piece.removeprefix(mark if inside else "").encode(), not inside)


def _read_byte_pair(new: _Vocabulary, piece: str) -> Spelling:
    content = bytes(BYTES[character] for character in piece if character in BYTES)
    begins = content.startswith(SPACE) and len(content) > 1
    return Spelling(content[1:] if begins else content, begins)


def _write_word_pieces(old: _Vocabulary, spelling: Spelling) -> tuple[int, ...]:
    """Words as the old tokenizer parts them; the first goes on a word if the piece does."""
    try:
        text = spelling.content.decode()
    except UnicodeDecodeError:  # a part of a character
        return ()
    if old.tokenizer.normalizer is not None:
        text = old.tokenizer.normalizer.normalize_str(text)
    found: list[int] = []
    for word, inside in _words(old, text, spelling.begins):
        ids = _longest_first(old, word, inside)
        if not ids:
            return ()
        found += ids
    return tuple(found)


def _words(old: _Vocabulary, text: str, begins: bool) -> list[tuple[str, bool]]:
    """Words as the old tokenizer parts them, and whether one goes on a word before the text."""
    before = "" if begins else LETTER
    words = [before + text]
    if old.tokenizer.pre_tokenizer is not None:
        words = [word for word, _ in old.tokenizer.pre_tokenizer.pre_tokenize_str(before + text)]
    if begins or not words:
        return [(word, False) for word in words]
    first = [(words[0].removeprefix(LETTER), True)] if words[0] != LETTER else []
    return [*first, *((word, False) for word in words[1:])]


def _longest_first(old: _Vocabulary, word: str, inside: bool) -> list[int]:
    """Empty where the vocabulary lacks a character."""
    vocab, mark = old.raw["model"]["vocab"], continuation(old.raw)
    found: list[int] = []
    at = 0
    while at < len(word):
        prefix = mark if at or inside else ""
        pieces = ((end, prefix + word[at:end]) for end in range(len(word), at, -1))
        end, piece = next((each for each in pieces if each[1] in vocab), (at, ""))
        if end == at:
            return []
        found.append(vocab[piece])
        at = end
    return found


def _write_byte_pairs(old: _Vocabulary, spelling: Spelling) -> tuple[int, ...]:
    content = (SPACE if spelling.begins else b"") + spelling.content
    text = "".join(CHARACTERS[byte] for byte in content)
    return tuple(token.id for token in old.tokenizer.model.tokenize(text)) if text else ()


READ: dict[str, Callable[[_Vocabulary, str], Spelling]] = {
    "WordPiece": _read_word_piece,
    "byte-level BPE": _read_byte_pair,
}
WRITE: dict[str, Callable[[_Vocabulary, Spelling], tuple[int, ...]]] = {
    "WordPiece": _write_word_pieces,
    "byte-level BPE": _write_byte_pairs,
}
