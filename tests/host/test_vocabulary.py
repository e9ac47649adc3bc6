"""A trimmed tokenizer splits text as the whole one does, as far as its pieces go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from edgetran_host.models.seeds import load_seed
from edgetran_host.vocabulary import can_trim, trim_tokenizer
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

TEXTS = (
    "Turn on the lights in the living room, please!",
    "a charming and often affecting journey",
    "Übermäßig schön, wie naïve Café-Bücher",  # the normaliser takes the accents
    "Привет, как погода сегодня?",
    "今天天气很好",
)
SIZE = 2000


@pytest.fixture(scope="module")
def whole() -> bytes:
    return load_seed("minilm").tokenizer_json


@pytest.fixture(scope="module")
def before(whole: bytes) -> Tokenizer:
    return tokenizer(whole)


@pytest.fixture(scope="module")
def trimmed(whole: bytes) -> tuple[bytes, tuple[int, ...]]:
    return trim_tokenizer(whole, TEXTS, SIZE)


@pytest.fixture(scope="module")
def after(trimmed: tuple[bytes, tuple[int, ...]]) -> Tokenizer:
    return tokenizer(trimmed[0])


def tokenizer(tokenizer_json: bytes) -> Tokenizer:
    found = Tokenizer.from_str(tokenizer_json.decode())
    found.no_truncation()
    found.no_padding()
    return found


def tiny(**changes: Any) -> bytes:
    """A WordPiece tokenizer.json of a few pieces; `changes` replace its parts."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a", "b", "##b", "ab", "aba", "bab"]
    raw = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: at for at, piece in enumerate(pieces)},
        },
    }
    return json.dumps({**raw, **changes}).encode()


def added(at: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": at, "content": content, "special": True, **flags}


class TestPieces:
    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.sampled_from([*" ".join(TEXTS).split(), "unaffable", "☃", "ab1c"]), max_size=8)
        | st.lists(st.text(max_size=12), max_size=3),
        st.booleans(),
    )
    def test_same_where_all_are_kept(
        self,
        before: Tokenizer,
        after: Tokenizer,
        trimmed: tuple[bytes, tuple[int, ...]],
        words: list[str],
        special: bool,
    ) -> None:
        kept, text = trimmed[1], " ".join(words)
        wanted = before.encode(text, add_special_tokens=special)
        found = after.encode(text, add_special_tokens=special)
        assert all(0 <= at < len(kept) for at in found.ids)  # any text encodes
        if set(wanted.ids) <= set(kept):
            assert found.tokens == wanted.tokens
            assert [kept[at] for at in found.ids] == wanted.ids
            assert found.type_ids == wanted.type_ids

    def test_the_texts_themselves_keep_all_their_pieces(
        self, before: Tokenizer, after: Tokenizer, trimmed: tuple[bytes, tuple[int, ...]]
    ) -> None:
        for text in TEXTS:
            wanted, found = before.encode(text), after.encode(text)
            assert [trimmed[1][at] for at in found.ids] == wanted.ids

    def test_every_id_keeps_its_piece(
        self, before: Tokenizer, after: Tokenizer, trimmed: tuple[bytes, tuple[int, ...]]
    ) -> None:
        kept = trimmed[1]
        assert len(kept) == SIZE == after.get_vocab_size()
        assert list(kept) == sorted(set(kept))
        for new, old in enumerate(kept):
            assert after.id_to_token(new) == before.id_to_token(old)

    def test_words_that_are_cut_are_spelt(self, whole: bytes) -> None:
        """No room for a word's piece, but for its letters, in its own alphabet."""
        small, _ = trim_tokenizer(whole, ["Привет как погода сегодня"], 250)
        found = tokenizer(small)
        for word in ("unaffable", "12:30", "вода", "пес"):
            tokens = found.encode(word, add_special_tokens=False).tokens
            assert "[UNK]" not in tokens
            assert "".join(token.removeprefix("##") for token in tokens) == word

    def test_most_used_then_first(self) -> None:
        """Six pieces must stay; of the others the most frequent, then the lowest id."""
        both = [trim_tokenizer(tiny(), ["aba aba bab"], size)[1][-2:] for size in (7, 8)]
        assert both == [(7, 9), (9, 10)]
        assert trim_tokenizer(tiny(), [], 9)[1][-3:] == (6, 7, 8)

    def test_a_size_beyond_the_vocabulary_changes_nothing(self, whole: bytes) -> None:
        small, kept = trim_tokenizer(whole, TEXTS, 10**6)
        assert kept == tuple(range(tokenizer(whole).get_vocab_size()))
        assert json.loads(small) == json.loads(whole)

    def test_the_same_every_time(self, whole: bytes, trimmed: tuple[bytes, object]) -> None:
        assert trim_tokenizer(whole, iter(TEXTS), SIZE) == trimmed


class TestReferences:
    def test_of_minilm(self, whole: bytes, trimmed: tuple[bytes, tuple[int, ...]]) -> None:
        """Padding, pairs and special tokens work as before, under new ids."""
        small, kept = trimmed
        one, other = (Tokenizer.from_str(data.decode()) for data in (whole, small))
        for each in (one, other):
            each.enable_truncation(24)
        assert other.padding["pad_id"] == kept.index(one.padding["pad_id"])
        pairs = [(text, TEXTS[1]) for text in TEXTS]
        for wanted, found in zip(one.encode_batch(pairs), other.encode_batch(pairs)):
            assert [kept[at] for at in found.ids] == wanted.ids
            assert found.type_ids == wanted.type_ids
            assert found.attention_mask == wanted.attention_mask
        for token in json.loads(whole)["added_tokens"]:
            assert kept[other.token_to_id(token["content"])] == token["id"]

    @pytest.mark.parametrize(
        "post",
        [
            {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]},
            {
                "type": "RobertaProcessing",
                "cls": ["[CLS]", 2],
                "sep": ["[SEP]", 3],
                "trim_offsets": True,
                "add_prefix_space": False,
            },
            {
                "type": "Sequence",
                "processors": [
                    {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}
                ],
            },
        ],
    )
    def test_of_other_post_processors(self, post: dict[str, Any]) -> None:
        """Ids that nothing but the post-processor names are kept and renumbered."""
        padding = {
            "strategy": {"Fixed": 6},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 10,  # no usual padding token, and rare
            "pad_type_id": 0,
            "pad_token": "bab",
        }
        data = tiny(post_processor=post, padding=padding)
        small, kept = trim_tokenizer(data, ["ab"], 10)
        assert 8 in kept
        assert 9 not in kept
        found = Tokenizer.from_str(small.decode()).encode("ab")
        assert [kept[at] for at in found.ids] == [2, 8, 3, 10, 10, 10]
        assert found.tokens == ["[CLS]", "ab", "[SEP]", "bab", "bab", "bab"]

    def test_of_tokens_added_behind_the_vocabulary(self) -> None:
        data = tiny(added_tokens=[added(0, "[PAD]"), added(11, "<url>"), added(12, "<who>")])
        small, kept = trim_tokenizer(data, ["ab"], 9)
        assert kept == (0, 1, 4, 5, 6, 7, 8, 11, 12)
        found = Tokenizer.from_str(small.decode())
        assert [kept[at] for at in found.encode("ab <url> b <who>").ids] == [8, 11, 6, 12]
        assert found.get_vocab_size() == 9

    def test_a_mark_of_its_own(self) -> None:
        raw = json.loads(tiny())
        model = raw["model"]
        vocab = {piece.replace("##", "@"): at for piece, at in model["vocab"].items()}
        model.update(continuing_subword_prefix="@", vocab=vocab)
        small, kept = trim_tokenizer(json.dumps(raw).encode(), [], 6)
        assert kept == (0, 1, 4, 5, 6, 7)
        assert Tokenizer.from_str(small.decode()).encode("abab").tokens == ["a", "@b", "@a", "@b"]


class TestRefusals:
    def test_too_small(self, whole: bytes) -> None:
        with pytest.raises(UsageError, match="a vocabulary of 100 cannot hold") as caught:
            trim_tokenizer(whole, TEXTS, 100)
        least = int(caught.value.hint.rpartition(" ")[2])
        assert len(trim_tokenizer(whole, TEXTS, least)[1]) == least
        with pytest.raises(UsageError, match=f"a vocabulary of {least - 1} cannot hold"):
            trim_tokenizer(whole, TEXTS, least - 1)

    @pytest.mark.parametrize("size", [0, -1])
    def test_nothing(self, size: int) -> None:
        with pytest.raises(UsageError, match="cannot hold the 6 pieces"):
            trim_tokenizer(tiny(), [], size)

    def test_another_kind(self) -> None:
        data = json.dumps({"model": {"type": "BPE", "vocab": {}}}).encode()
        assert not can_trim(data)
        with pytest.raises(UsageError, match="a BPE vocabulary") as caught:
            trim_tokenizer(data, [], 10)
        assert "WordPiece" in caught.value.hint

    def test_no_piece_for_unknown_words(self) -> None:
        raw = json.loads(tiny())
        del raw["model"]["vocab"]["[UNK]"]
        with pytest.raises(UsageError, match=r"unknown words, '\[UNK\]'") as caught:
            trim_tokenizer(json.dumps(raw).encode(), [], 8)
        assert caught.value.hint


def test_can_trim_minilm(whole: bytes) -> None:
    assert can_trim(whole)
    assert can_trim(trim_tokenizer(whole, TEXTS, SIZE)[0])
