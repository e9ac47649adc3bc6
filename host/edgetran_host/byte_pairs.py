"""Which pieces of a byte-level BPE vocabulary stay: with every piece, those it is merged from.

The pieces of one byte always stay, so that any text encodes. A merge stays when both its
parts and its result do. A text whose pieces all stay is split as before: of the merges
that could be applied, the first in rank is among those that stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgetran_protos.errors import UsageError
from tokenizers import pre_tokenizers

ALPHABET = frozenset(pre_tokenizers.ByteLevel.alphabet())  # one character for each byte
AFFIXES = ("continuing_subword_prefix", "end_of_word_suffix")  # change what a merge results in

Merge = tuple[str, str]


def is_byte_level(raw: Mapping[str, Any]) -> bool:
    """Of a tokenizer.json: BPE on bytes, with nothing that marks a piece's place in a word."""
    model = raw.get("model") or {}
    if model.get("type") != "BPE" or any(model.get(affix) for affix in AFFIXES):
        return False
    before = raw.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers", [before])
    return any(part.get("type") == "ByteLevel" for part in parts)


def one_byte_pieces(raw: Mapping[str, Any]) -> set[int]:
    return {at for piece, at in raw["model"]["vocab"].items() if piece in ALPHABET}


def choose(
    raw: Mapping[str, Any], needed: set[int], counts: Mapping[int, int], size: int
) -> tuple[int, ...]:
    """Old ids to keep, ascending: what is needed, then the most used with their parts."""
    if size < len(needed):
        raise UsageError(
            f"a vocabulary of {size} cannot hold the {len(needed)} pieces every text needs",
            hint=f"choose at least {len(needed)}",
        )
    parts = _parts(raw)
    kept = set(needed)
    waiting = sorted(
        set(raw["model"]["vocab"].values()) - kept,
        key=lambda at: (at not in parts, -counts.get(at, 0), at),  # unreachable ones last
    )
    while waiting and len(kept) < size:
        before = len(kept)
        for at in waiting:
            tree = _tree(at, parts, kept)
            if len(kept) + len(tree) <= size:
                kept |= tree
        waiting = [at for at in waiting if at not in kept]
        if len(kept) == before:
            break
    return tuple(sorted(kept))


def trim_merges(raw: Mapping[str, Any], kept: set[str]) -> list[Any]:
    """Those whose parts and result are kept, in their order and notation."""
    return [
        entry
        for entry, (left, right) in zip(raw["model"]["merges"], _merges(raw))
        if left in kept and right in kept and left + right in kept
    ]


def _parts(raw: Mapping[str, Any]) -> dict[int, set[int]]:
    """What each piece is merged from, by any merge that results in it."""
    vocab = raw["model"]["vocab"]
    found: dict[int, set[int]] = {}
    for left, right in _merges(raw):
        if left + right in vocab and left in vocab and right in vocab:
            found.setdefault(vocab[left + right], set()).update((vocab[left], vocab[right]))
    return found


def _merges(raw: Mapping[str, Any]) -> Iterator[Merge]:
    """Pairs, or texts with a space between in older files."""
    for entry in raw["model"]["merges"]:
        left, right = entry.split(" ") if isinstance(entry, str) else entry
        yield left, right


def _tree(at: int, parts: Mapping[int, Sequence[int] | set[int]], kept: set[int]) -> set[int]:
    """A piece and all it is made of, but for what is kept already."""
    found: set[int] = set()
    waiting = [at]
    while waiting:
        piece = waiting.pop()
        if piece not in found and piece not in kept:
            found.add(piece)
            waiting += parts.get(piece, ())
    return found
