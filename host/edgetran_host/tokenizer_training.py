"""Trains a tokenizer of a given size on the user's texts, in the frame of a seed's.

The frame is the seed's special tokens, normaliser, template and padding: a model reads
the new ids as it read the old ones, once its embedding has rows for them (`respelling`).
Every character of the texts has a piece while there is room, every ASCII character and
every byte always; the same texts give the same tokenizer in every run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from edgetran_host import byte_pairs
from edgetran_host.tasks.encoding import PAD_TOKENS
from edgetran_host.vocabulary import TRIMMABLE, continuation, kind_of, references, words

ASCII = tuple(chr(code) for code in range(33, 127))
UNKNOWN = ("[UNK]", "<unk>")
PARTS = {  # pre-tokenizer and decoder of a kind that is not the frame's
    "WordPiece": (pre_tokenizers.BertPreTokenizer, decoders.WordPiece),
    "byte-level BPE": (pre_tokenizers.ByteLevel, decoders.ByteLevel),
}


def train_tokenizer(
    texts: Iterable[str], size: int, frame: bytes, kind: str | None = None
) -> bytes:
    """A tokenizer.json of at most `size` pieces; fewer where the texts hold no more.

    `frame` is the seed's tokenizer.json, `kind` one of TRIMMABLE, None: as the frame's.
    Raises UsageError when `size` cannot hold what every tokenizer needs.
    """
    old = json.loads(frame)
    kind = kind or kind_of(old)
    if kind not in TRIMMABLE:
        raise UsageError(
            f"a {kind} tokenizer cannot be trained", hint=f"choose {' or '.join(TRIMMABLE)}"
        )
    framed = Tokenizer.from_str(frame.decode())
    rows, special = list(texts), _special(old, framed)
    made = Tokenizer(_model(kind, old, special))
    made.normalizer = framed.normalizer
    same = kind == kind_of(old)
    made.pre_tokenizer = framed.pre_tokenizer if same else PARTS[kind][0]()
    made.decoder = framed.decoder if same else PARTS[kind][1]()
    if kind == "WordPiece":
        _train_word_pieces(made, rows, size, special)
    else:
        _train_byte_pairs(made, rows, size, special)
    return _in_frame(json.loads(made.to_str()), old, framed)


def _model(kind: str, old: dict[str, Any], special: Sequence[str]) -> models.Model:
    if kind != "WordPiece":
        return models.BPE()
    unknown = next((token for token in UNKNOWN if token in special), UNKNOWN[0])
    return models.WordPiece(
        unk_token=old["model"].get("unk_token") or unknown,
        continuing_subword_prefix=continuation(old),
    )


def _train_word_pieces(
    made: Tokenizer, rows: Sequence[str], size: int, special: Sequence[str]
) -> None:
    """Pieces inside a word are given beforehand, or their order would be another every time."""
    mark, unknown = made.model.continuing_subword_prefix, made.model.unk_token
    given = [*dict.fromkeys([*special, unknown])]
    plain = [each for each in ASCII if _stays(made, each)]
    least = len(given) + 2 * len(plain)
    _check_size(size, least)
    counts: Counter[str] = Counter()
    for word, times in words(made, rows).items():
        counts.update(dict.fromkeys(word, times))
    by_use = sorted(counts.keys() - set(plain), key=lambda each: (-counts[each], each))
    alphabet = sorted([*plain, *by_use[: (size - least) // 2]])
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*given, *(mark + each for each in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=mark,
        show_progress=False,
    )
    made.train_from_iterator(rows, trainer)


def _stays(tokenizer: Tokenizer, character: str) -> bool:
    """Whether the normaliser leaves it as it is."""
    normalizer = tokenizer.normalizer
    return normalizer is None or bool(normalizer.normalize_str(character) == character)


def _train_byte_pairs(
    made: Tokenizer, rows: Sequence[str], size: int, special: Sequence[str]
) -> None:
    _check_size(size, len(special) + len(byte_pairs.ALPHABET))
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=sorted(byte_pairs.ALPHABET),
        show_progress=False,
    )
    made.train_from_iterator(rows, trainer)


def _check_size(size: int, least: int) -> None:
    if size < least:
        raise UsageError(
            f"a vocabulary of {size} cannot hold the {least} pieces every text needs",
            hint=f"choose at least {least}",
        )


def _special(old: dict[str, Any], framed: Tokenizer) -> list[str]:
    """Tokens that the frame names, by their old ids."""
    found = {holder[key] for holder, key in references(old)}
    found |= {framed.token_to_id(token) for token in (*PAD_TOKENS, *UNKNOWN)} - {None}
    return [str(framed.id_to_token(at)) for at in sorted(found)]


def _in_frame(made: dict[str, Any], old: dict[str, Any], framed: Tokenizer) -> bytes:
    """The new model under the frame's template, padding and added tokens, with the new ids."""
    vocab = made["model"]["vocab"]
    frame = {
        key: old.get(key) for key in ("truncation", "padding", "added_tokens", "post_processor")
    }
    for holder, key in references(frame):
        holder[key] = vocab[str(framed.id_to_token(holder[key]))]
    raw = {**made, **frame}
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode()
