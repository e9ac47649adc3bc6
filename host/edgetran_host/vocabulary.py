"""Cuts a tokenizer's vocabulary to what a task uses.

On a small model the embedding table is most of the bytes, and a task touches few of
its rows. Special tokens and ASCII characters always stay; then the characters that the
texts are spelt with, so that a word whose pieces are cut can still be spelt; then the
pieces that occur most often; then, if room is left, the first of the original order,
which word-piece vocabularies sort by frequency.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer

from edgetran_host.tasks.encoding import PAD_TOKENS

TRIMMABLE = ("WordPiece",)
CONTINUATION = "##"  # before a piece inside a word, where the model names no other mark


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
            f"a {raw.get('model', {}).get('type')} vocabulary cannot be trimmed",
            hint=f"only {', '.join(TRIMMABLE)} vocabularies can",
        )
    tokenizer, rows = Tokenizer.from_str(tokenizer_json.decode()), list(texts)
    kept = _choose(raw, _spelling(raw, tokenizer, rows), _counts(tokenizer, rows), size)
    places = {old: new for new, old in enumerate(kept)}
    pieces = sorted(raw["model"]["vocab"].items(), key=lambda item: item[1])
    raw["model"]["vocab"] = {piece: places[old] for piece, old in pieces if old in places}
    for holder, key in _references(raw):
        holder[key] = places[holder[key]]
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode(), kept


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
    for word, times in _words(tokenizer, texts).items():
        if len(word) > 1:
            characters.update(dict.fromkeys(word, times))
    vocab, mark = raw["model"]["vocab"], _mark(raw)
    return Counter(
        {
            vocab[piece]: times
            for character, times in characters.items()
            for piece in (character, mark + character)
            if piece in vocab
        }
    )


def _words(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[str]:
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
    needed = {holder[key] for holder, key in _references(raw)}
    needed |= {vocab[token] for token in (unknown, *PAD_TOKENS) if token in vocab}
    mark = _mark(raw)
    for piece, at in vocab.items():
        bare = piece.removeprefix(mark)
        if len(bare) == 1 and bare.isascii():
            needed.add(at)
    return needed


def _mark(raw: Mapping[str, Any]) -> str:
    return str(raw["model"].get("continuing_subword_prefix", CONTINUATION))


def _references(raw: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
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
