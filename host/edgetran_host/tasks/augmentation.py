"""More rows from those there are: some words of each replaced by near ones.

Near is what the seed's word embeddings take for alike: antonyms too, so what a row means may
change. A student learns from what its teacher says of the new row; the label of the old one
counts little there. The rows follow from the texts, the embeddings and a seed alone, so they
are the same again when a run goes on.
Source: Jiao et al. 2020 (TinyBERT), there with a masked language model beside the embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edgetran_host.tasks.task import Row

NEAREST = 10  # words that may stand for a word
REPLACED = 0.25  # share of a row's words, on average
MOST_COPIES = 20  # of one row
CHUNK = 1024  # words compared at once
WORD = re.compile(r"[^\W\d_]+")
WORD_START = "Ġ"  # before the first piece of a word in byte-level vocabularies

Neighbours = Mapping[str, Sequence[str]]


def augmented(
    rows: Sequence[Row], wanted: int, tokenizer_json: bytes, words: Tensor, seed: int
) -> tuple[Row, ...]:
    """`wanted` new rows, or as many as MOST_COPIES of each give.

    words (vocabulary, h): the seed's embedding of each piece of `tokenizer_json`.
    """
    count = min(wanted, MOST_COPIES * len(rows))
    if count <= 0:
        return ()
    near, rng = neighbours(rows, tokenizer_json, words), np.random.default_rng(seed)
    return tuple(_altered(rows[at % len(rows)], near, rng) for at in range(count))


def neighbours(rows: Sequence[Row], tokenizer_json: bytes, words: Tensor) -> Neighbours:
    """Of each word of the rows that is one piece: the NEAREST others, the nearest first."""
    places = _whole_words(Tokenizer.from_str(tokenizer_json.decode()).get_vocab())
    used = {word for row in rows for text in _texts(row) for word in WORD.findall(text)}
    named = sorted(used & places.keys() | {word.lower() for word in used} & places.keys())
    others = sorted(places)
    if len(others) <= NEAREST:
        return {}
    unit = torch.nn.functional.normalize(words.float(), dim=1)
    table = unit[[places[word] for word in others]]
    found: dict[str, Sequence[str]] = {}
    for at in range(0, len(named), CHUNK):
        part = named[at : at + CHUNK]
        alike = unit[[places[word] for word in part]] @ table.T
        best = alike.topk(NEAREST + 1).indices.tolist()
        for word, indices in zip(part, best):
            found[word] = [others[one] for one in indices if others[one] != word][:NEAREST]
    return found


def _altered(row: Row, near: Neighbours, rng: np.random.Generator) -> Row:
    def replaced(match: re.Match[str]) -> str:
        known = near.get(match[0]) or near.get(match[0].lower())
        if known is None or rng.random() >= REPLACED:
            return match[0]
        return known[int(rng.integers(len(known)))]

    first, *second = (WORD.sub(replaced, text) for text in _texts(row))
    return Row(first, second[0] if second else None, row.label)


def _texts(row: Row) -> list[str]:
    return [row.text] if row.text_pair is None else [row.text, row.text_pair]


def _whole_words(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Pieces that are words by themselves, without their mark."""
    marked = any(piece.startswith(WORD_START) for piece in vocabulary)
    found = {}
    for piece, place in vocabulary.items():
        word = piece.removeprefix(WORD_START) if marked else piece
        if (word != piece or not marked) and len(word) > 1 and WORD.fullmatch(word):
            found[word] = place
    return found
