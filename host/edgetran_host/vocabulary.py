"""Cuts a tokenizer's vocabulary to what a task uses.

On a small model the embedding table is most of the bytes, and a task touches few of
its rows. Special tokens always stay. Of a WordPiece vocabulary so do ASCII characters;
then the characters that the texts are spelt with, so that a word whose pieces are cut
can still be spelt; then the pieces that occur most often; then, if room is left, the
first of the original order, which such vocabularies sort by frequency. Of a byte-level
BPE vocabulary the bytes always stay; `byte_pairs` chooses the others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer

from edgetran_host import byte_pairs
from edgetran_host.tasks.encoding import PAD_TOKENS

TRIMMABLE = ("WordPiece", "byte-level BPE")
CONTINUATION = "##"  # before a piece inside a word, where the model names no other mark


def can_trim(tokenizer_json: bytes) -> bool:
    """Whether `trim_tokenizer` knows this kind of vocabulary."""
    return kind_of(json.loads(tokenizer_json)) in TRIMMABLE


def fewest_pieces(tokenizer_json: bytes) -> int:
    """What `trim_tokenizer` cannot cut. Raises UsageError for a vocabulary without unknowns."""
    raw = json.loads(tokenizer_json)
    if byte_pairs.is_byte_level(raw):
        return len(_special(raw) | byte_pairs.one_byte_pieces(raw))
    return len(_needed(raw))


def kind_of(raw: Mapping[str, Any]) -> str:
    """Of a tokenizer.json: the type of its model, 'byte-level BPE' where that is its BPE."""
    if byte_pairs.is_byte_level(raw):
        return "byte-level BPE"
    return str((raw.get("model") or {}).get("type"))


def trim_tokenizer(
    tokenizer_json: bytes, texts: Iterable[str], size: int
) -> tuple[bytes, tuple[int, ...]]:
    """The smaller tokenizer.json, and the old id of each of its ids.

    Raises UsageError when `size` cannot hold what must stay.
    """
    raw = json.loads(tokenizer_json)
    if kind_of(raw) not in TRIMMABLE:
        raise UsageError(
            f"a {kind_of(raw)} vocabulary cannot be trimmed",
            hint=f"only {' and '.join(TRIMMABLE)} vocabularies can",
        )
    tokenizer, rows = Tokenizer.from_str(tokenizer_json.decode()), list(texts)
    counts = _counts(tokenizer, rows)
    if byte_pairs.is_byte_level(raw):
        needed = _special(raw) | byte_pairs.one_byte_pieces(raw)
        kept = byte_pairs.choose(raw, needed, counts, size)
    else:
        kept = _choose(raw, _spelling(raw, tokenizer, rows), counts, size)
    places = {old: new for new, old in enumerate(kept)}
    pieces = sorted(raw["model"]["vocab"].items(), key=lambda item: item[1])
    raw["model"]["vocab"] = {piece: places[old] for piece, old in pieces if old in places}
    if "merges" in raw["model"]:
        raw["model"]["merges"] = byte_pairs.trim_merges(raw, set(raw["model"]["vocab"]))
    for holder, key in references(raw):
        holder[key] = places[holder[key]]
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode(), kept


def piece_counts(tokenizer_json: bytes, texts: Sequence[str], size: int) -> list[int]:
    """How often each of `size` ids occurs in the texts; special tokens once a text."""
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    counts = _counts(tokenizer, texts)
    counts.update({at: len(texts) for at in tokenizer.encode("").ids})
    return [counts[at] for at in range(size)]


def _counts(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[int]:
    """How often each id occurs in the texts."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts: Counter[int] = Counter()
    for row in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        counts.update(row.ids)
    return counts


def _spelling(raw: Mapping[str, Any], tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[int]:
    """Ids of the characters in the words of the texts, each to begin and to go on with.

    Only words of several characters: one that stands alone counts as the piece it is.
    """
    characters: Counter[str] = Counter()
    for word, times in words(tokenizer, texts).items():
        if len(word) > 1:
            characters.update(dict.fromkeys(word, times))
    vocab, mark = raw["model"]["vocab"], continuation(raw)
    return Counter(
        {
            vocab[piece]: times
            for character, times in characters.items()
            for piece in (character, mark + character)
            if piece in vocab
        }
    )


def words(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for text in texts:
        if tokenizer.normalizer is not None:
            text = tokenizer.normalizer.normalize_str(text)
        if tokenizer.pre_tokenizer is None:
            found[text] += 1
        else:
            found.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return found


def _choose(
    raw: dict[str, Any], spelling: Counter[int], counts: Counter[int], size: int
) -> tuple[int, ...]:
    """Old ids to keep, ascending."""
    needed = _needed(raw)
    if size < len(needed):
        raise UsageError(
            f"a vocabulary of {size} cannot hold the {len(needed)} pieces every text needs",
            hint=f"choose at least {len(needed)}",
        )
    by_spelling = sorted(spelling, key=lambda at: (-spelling[at], at))
    by_use = sorted(raw["model"]["vocab"].values(), key=lambda at: (-counts[at], at))
    order = dict.fromkeys([*sorted(needed), *by_spelling, *by_use])
    return tuple(sorted(list(order)[:size]))


def _needed(raw: dict[str, Any]) -> set[int]:
    """Ids without which the tokenizer, or a text in ASCII, would not work."""
    vocab: Mapping[str, int] = raw["model"]["vocab"]
    unknown = raw["model"].get("unk_token")
    if unknown not in vocab:
        raise UsageError(
            f"the vocabulary lacks its piece for unknown words, {unknown!r}",
            hint="use the tokenizer the weights were trained with",
        )
    needed = _special(raw) | {vocab[unknown]}
    mark = continuation(raw)
    for piece, at in vocab.items():
        bare = piece.removeprefix(mark)
        if len(bare) == 1 and bare.isascii():
            needed.add(at)
    return needed


def _special(raw: dict[str, Any]) -> set[int]:
    """Ids that something beside the model names, and that of padding."""
    vocab = raw["model"]["vocab"]
    named = {holder[key] for holder, key in references(raw)}
    return named | {vocab[token] for token in PAD_TOKENS if token in vocab}


def continuation(raw: Mapping[str, Any]) -> str:
    """Of the pieces inside a word."""
    found = raw["model"].get("continuing_subword_prefix")
    return CONTINUATION if found is None else str(found)


def references(raw: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Where a tokenizer.json holds ids outside its vocabulary: a container and its key."""
    for token in raw.get("added_tokens", []):
        yield token, "id"
    if raw.get("padding"):
        yield raw["padding"], "pad_id"
    post = raw.get("post_processor") or {}
    for processor in post.get("processors", [post]):
        for special in processor.get("special_tokens", {}).values():
            yield from ((special["ids"], at) for at in range(len(special["ids"])))
        for end in ("sep", "cls"):
            if isinstance(processor.get(end), list):
                yield processor[end], 1
