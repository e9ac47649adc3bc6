"""Cuts a tokenizer's vocabulary to what a task uses.

On a small model the embedding table is most of the bytes, and a task touches few of
its rows. Special tokens and single characters always stay, so that any word can
still be spelt; then the pieces that occur most often; then, if room is left, the
first of the original order, which word-piece vocabularies sort by frequency.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer

TRIMMABLE = ("WordPiece",)
CONTINUATION = "##"


def can_trim(tokenizer_json: bytes) -> bool:
    """Whether `trim_tokenizer` knows this kind of vocabulary."""
    kind = json.loads(tokenizer_json).get("model", {}).get("type")
    return kind in TRIMMABLE


def trim_tokenizer(
    tokenizer_json: bytes, texts: Iterable[str], size: int
) -> tuple[bytes, tuple[int, ...]]:
    """The smaller tokenizer.json, and the old id of each of its ids.

    Raises UsageError when `size` cannot hold what must stay.
    """
    raw = json.loads(tokenizer_json)
    if not can_trim(tokenizer_json):
        raise UsageError(
            f"a {raw['model'].get('type')} vocabulary cannot be trimmed",
            hint=f"only {', '.join(TRIMMABLE)} vocabularies can",
        )
    kept = _choose(raw, _counts(tokenizer_json, texts), size)
    places = {old: new for new, old in enumerate(kept)}
    pieces = {old: piece for piece, old in raw["model"]["vocab"].items()}
    raw["model"]["vocab"] = {pieces[old]: new for old, new in places.items()}
    _renumber(raw, places)
    return json.dumps(raw, ensure_ascii=False).encode(), kept


def _counts(tokenizer_json: bytes, texts: Iterable[str]) -> Counter[int]:
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts: Counter[int] = Counter()
    for row in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        counts.update(row.ids)
    return counts


def _choose(raw: Mapping[str, Any], counts: Counter[int], size: int) -> tuple[int, ...]:
    """Old ids to keep, ascending."""
    vocab: Mapping[str, int] = raw["model"]["vocab"]
    needed = {token["id"] for token in raw.get("added_tokens", [])}
    needed |= {vocab[raw["model"]["unk_token"]]}
    needed |= {at for piece, at in vocab.items() if _is_ascii_character(piece)}
    if size < len(needed):
        raise UsageError(
            f"a vocabulary of {size} cannot hold the {len(needed)} pieces every text needs",
            hint=f"choose at least {len(needed)}",
        )
    by_use = sorted(vocab.values(), key=lambda at: (-counts[at], at))
    kept = set(needed)
    for at in by_use:
        if len(kept) >= min(size, len(vocab)):
            break
        kept.add(at)
    return tuple(sorted(kept))


def _is_ascii_character(piece: str) -> bool:
    bare = piece.removeprefix(CONTINUATION)
    return len(bare) == 1 and bare.isascii()


def _renumber(raw: dict[str, Any], places: Mapping[int, int]) -> None:
    """Every other place of a tokenizer.json that holds ids."""
    for token in raw.get("added_tokens", []):
        token["id"] = places[token["id"]]
    if raw.get("padding"):
        raw["padding"]["pad_id"] = places[raw["padding"]["pad_id"]]
    post = raw.get("post_processor") or {}
    for processor in post.get("processors", [post]):
        for special in processor.get("special_tokens", {}).values():
            special["ids"] = [places[at] for at in special["ids"]]
        for end in ("sep", "cls"):
            if isinstance(processor.get(end), list):
                token, at = processor[end]
                processor[end] = [token, places[at]]
