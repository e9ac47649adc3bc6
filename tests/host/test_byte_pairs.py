"""A trimmed byte-level BPE splits text as the whole one does, as far as its pieces go."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from edgetran_host.vocabulary import can_trim, trim_tokenizer
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

SIZE = 1500
STRANGE = "Übermäßig naïve ☃ 今天天气 Привет\t\n 👩‍🔬 \x00 ab1c"
Make = Callable[..., bytes]


@pytest.fixture(scope="module")
def before(byte_level: bytes) -> Tokenizer:
    return Tokenizer.from_str(byte_level.decode())


@pytest.fixture(scope="module")
def trimmed(byte_level: bytes, commands: list[str]) -> tuple[bytes, tuple[int, ...]]:
    return trim_tokenizer(byte_level, commands, SIZE)


@pytest.fixture(scope="module")
def after(trimmed: tuple[bytes, tuple[int, ...]]) -> Tokenizer:
    return Tokenizer.from_str(trimmed[0].decode())


class TestAnyText:
    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_encodes_and_comes_back(
        self,
        before: Tokenizer,
        after: Tokenizer,
        trimmed: tuple[bytes, tuple[int, ...]],
        commands: list[str],
        prose: list[str],
        data: st.DataObject,
    ) -> None:
        """And has the same pieces as before wherever those are all kept."""
        kept = trimmed[1]
        text = data.draw(
            st.text(max_size=30)
            | st.sampled_from([*commands[:200], *prose[:100], STRANGE])
            | st.lists(st.sampled_from(" ".join(commands[:50]).split()), max_size=6).map(" ".join)
        )
        found, wanted = after.encode(text), before.encode(text)
        assert after.decode(found.ids) == before.decode(wanted.ids)
        assert after.decode(after.encode(text, add_special_tokens=False).ids) == text
        if set(wanted.ids) <= set(kept):
            assert [kept[at] for at in found.ids] == wanted.ids
            assert found.tokens == wanted.tokens

    def test_the_texts_keep_most_of_their_pieces(
        self,
        before: Tokenizer,
        after: Tokenizer,
        trimmed: tuple[bytes, tuple[int, ...]],
        commands: list[str],
    ) -> None:
        rows = list(zip(before.encode_batch(commands), after.encode_batch(commands)))
        same = sum([trimmed[1][at] for at in new.ids] == old.ids for old, new in rows)
        assert same >= 0.75 * len(rows)
        assert sum(len(new.ids) for _, new in rows) <= 1.05 * sum(len(old.ids) for old, _ in rows)


class TestPieces:
    def test_every_id_keeps_its_piece(
        self, before: Tokenizer, after: Tokenizer, trimmed: tuple[bytes, tuple[int, ...]]
    ) -> None:
        small, kept = trimmed
        assert len(kept) == SIZE == after.get_vocab_size()
        assert list(kept) == sorted(set(kept))
        for new, old in enumerate(kept):
            assert after.id_to_token(new) == before.id_to_token(old)
        for token in json.loads(small)["added_tokens"]:
            assert after.token_to_id(token["content"]) == token["id"]

    def test_every_piece_can_be_reached(self, trimmed: tuple[bytes, tuple[int, ...]]) -> None:
        """Its parts are there, down to bytes; every merge's parts and result are there."""
        model = json.loads(trimmed[0])["model"]
        made = {"".join(merge) for merge in model["merges"]}
        assert all(part in model["vocab"] for merge in model["merges"] for part in merge)
        assert made <= model["vocab"].keys()
        special = {token["content"] for token in json.loads(trimmed[0])["added_tokens"]}
        assert {piece for piece in model["vocab"] if len(piece) > 1} == made | special

    def test_most_used_with_its_parts(self, small_byte_level: Make) -> None:
        data = small_byte_level([["a", "b"], ["c", "d"], ["ab", "cd"], ["x", "y"]])
        texts = ["abcd abcd xy"]
        sizes = {size: trim_tokenizer(data, texts, size)[1][256:] for size in range(256, 261)}
        assert sizes == {
            256: (),
            257: (259,),  # abcd is used twice, but needs three rows
            258: (256, 259),
            259: (256, 257, 258),
            260: (256, 257, 258, 259),
        }

    def test_the_last_places_go_to_what_fits(self, small_byte_level: Make) -> None:
        """Unused, and made of one another: the parts first."""
        data = small_byte_level([["a", "b"], ["ab", "c"], ["abc", "d"]])
        assert [trim_tokenizer(data, [], size)[1][256:] for size in (257, 258, 259)] == [
            (256,),
            (256, 257),
            (256, 257, 258),
        ]

    def test_what_no_merge_makes_goes_first(self, small_byte_level: Make) -> None:
        data = small_byte_level([["a", "b"]], more=("never",))
        assert trim_tokenizer(data, ["never"], 257)[1][256:] == (257,)
        assert trim_tokenizer(data, ["never"], 258)[1][256:] == (256, 257)

    def test_made_in_two_ways(self, small_byte_level: Make) -> None:
        """The parts of both stay, since either may come first in another word."""
        data = small_byte_level([["b", "c"], ["a", "bc"], ["a", "b"], ["ab", "c"]])
        assert trim_tokenizer(data, ["abc"], 258)[1][256:] == (256, 258)  # no room for abc
        small, kept = trim_tokenizer(data, ["abc"], 259)
        assert kept[256:] == (256, 257, 258)
        assert len(json.loads(small)["model"]["merges"]) == 4

    def test_merges_of_older_files_are_texts(self, small_byte_level: Make) -> None:
        data = small_byte_level(["a b", "c d"])
        small, _ = trim_tokenizer(data, ["ab"], 257)
        assert json.loads(small)["model"]["merges"] == ["a b"]
        assert Tokenizer.from_str(small.decode()).encode("abcd").tokens == ["ab", "c", "d"]

    def test_a_size_beyond_the_vocabulary_changes_nothing(
        self, byte_level: bytes, commands: list[str]
    ) -> None:
        small, kept = trim_tokenizer(byte_level, commands, 10**6)
        assert kept == tuple(range(3000))
        assert json.loads(small) == json.loads(byte_level)

    def test_the_same_every_time(
        self, byte_level: bytes, commands: list[str], trimmed: tuple[bytes, object]
    ) -> None:
        assert trim_tokenizer(byte_level, iter(commands), SIZE) == trimmed


class TestRefusals:
    def test_too_small_for_the_bytes(self, byte_level: bytes) -> None:
        with pytest.raises(UsageError, match="cannot hold the 261 pieces") as caught:
            trim_tokenizer(byte_level, [], 260)
        assert caught.value.hint == "choose at least 261"
        assert len(trim_tokenizer(byte_level, [], 261)[1]) == 261

    @pytest.mark.parametrize(
        "changes",
        [
            {"pre_tokenizer": {"type": "Whitespace"}},
            {"pre_tokenizer": None},
            {"model": {"type": "BPE", "vocab": {}, "merges": [], "end_of_word_suffix": "</w>"}},
            {"model": {"type": "Unigram", "vocab": []}},
        ],
    )
    def test_other_kinds(self, small_byte_level: Make, changes: dict[str, object]) -> None:
        data = small_byte_level([], **changes)
        assert not can_trim(data)
        with pytest.raises(UsageError, match="cannot be trimmed") as caught:
            trim_tokenizer(data, [], 300)
        assert "byte-level BPE" in caught.value.hint

    def test_bytes_among_other_pre_tokenizers(self, small_byte_level: Make) -> None:
        parts = [{"type": "Digits", "individual_digits": True}]
        parts.append(json.loads(small_byte_level([]))["pre_tokenizer"])
        data = small_byte_level([], pre_tokenizer={"type": "Sequence", "pretokenizers": parts})
        assert can_trim(data)
