"""Tokenizers trained on real text: their size, their frame, every text, every run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from edgetran_host.models.seeds import load_seed
from edgetran_host.tokenizer_training import train_tokenizer
from edgetran_host.vocabulary import TRIMMABLE, can_trim, kind_of
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

AGAIN = """
import hashlib, sys
from pathlib import Path
from edgetran_host.tokenizer_training import train_tokenizer
folder = Path(sys.argv[1])
texts = (folder / "texts").read_text(encoding="utf-8").split("\\0")
made = train_tokenizer(texts, 900, (folder / "frame").read_bytes(), sys.argv[2])
print(hashlib.sha256(made).hexdigest())
"""


@pytest.fixture(scope="module")
def minilm() -> bytes:
    return load_seed("minilm").tokenizer_json


@pytest.fixture(
    scope="module", params=[(f, k) for f in ("minilm", "byte_level") for k in TRIMMABLE]
)
def made(
    request: pytest.FixtureRequest, commands: list[str], minilm: bytes, byte_level: bytes
) -> tuple[bytes, bytes, str]:
    """The frame, the tokenizer and its kind, for every frame and kind."""
    name, kind = request.param
    frame = {"minilm": minilm, "byte_level": byte_level}[name]
    return frame, train_tokenizer(commands, 900, frame, kind), kind


class TestOfEveryKindInEveryFrame:
    def test_size_and_kind(self, made: tuple[bytes, bytes, str]) -> None:
        _, found, kind = made
        assert Tokenizer.from_str(found.decode()).get_vocab_size() == 900
        assert kind_of(json.loads(found)) == kind
        assert can_trim(found)

    def test_special_tokens_stand_where_they_stood(self, made: tuple[bytes, bytes, str]) -> None:
        frame, found, _ = made
        old, new = (Tokenizer.from_str(data.decode()) for data in (frame, found))
        for each in (old, new):
            each.no_truncation()
            each.no_padding()
        special = {token["content"] for token in json.loads(frame)["added_tokens"]}
        pair = ("turn on the light", "good night")
        shapes = []
        for each in (old, new):
            row = each.encode(*pair)
            ends = [token for token in row.tokens if token in special]
            shapes.append((ends, sorted(set(row.type_ids))))
        assert shapes[0] == shapes[1]
        for token in special:
            assert new.token_to_id(token) is not None
        if padding := json.loads(found)["padding"]:
            assert new.id_to_token(padding["pad_id"]) == padding["pad_token"] == "[PAD]"

    def test_own_texts_are_shorter_than_by_another_s(
        self, made: tuple[bytes, bytes, str], commands: list[str], prose: list[str]
    ) -> None:
        frame, found, kind = made
        counts = []
        for data in (found, train_tokenizer(prose, 900, frame, kind)):
            tokenizer = Tokenizer.from_str(data.decode())
            tokenizer.no_truncation()
            tokenizer.no_padding()
            rows = tokenizer.encode_batch(commands, add_special_tokens=False)
            counts.append(sum(len(row.ids) for row in rows))
        assert counts[0] < 0.7 * counts[1]
        assert counts[0] < 1.3 * sum(len(text.split()) for text in commands)

    @settings(max_examples=60, deadline=None)
    @given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
    def test_ascii_is_never_unknown(self, made: tuple[bytes, bytes, str], text: str) -> None:
        found = Tokenizer.from_str(made[1].decode()).encode(text, add_special_tokens=False)
        if not any(token in text for token in ("<unk>", "[UNK]")):
            assert not {"[UNK]", "<unk>"} & set(found.tokens)

    def test_the_same_in_every_run(
        self, made: tuple[bytes, bytes, str], commands: list[str], tmp_path: Path
    ) -> None:
        frame, _, kind = made
        (tmp_path / "texts").write_text("\0".join(commands[:300]), encoding="utf-8")
        (tmp_path / "frame").write_bytes(frame)
        runs = {
            subprocess.run(
                [sys.executable, "-c", AGAIN, str(tmp_path), kind],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
            for _ in range(2)
        }
        assert len(runs) == 1


class TestCharacters:
    TEXTS = ("ein schöner Film über naïve Bücher", "今天天气很好", "Привет, как погода?")

    def test_of_the_texts_have_pieces(self, byte_level: bytes) -> None:
        found = train_tokenizer(self.TEXTS, 400, byte_level, "WordPiece")
        tokenizer = Tokenizer.from_str(found.decode())
        for text in ("böse", "天今", "рак"):
            assert "<unk>" not in tokenizer.encode(text).tokens

    def test_beyond_the_room_are_unknown_and_ascii_is_not(self, byte_level: bytes) -> None:
        with pytest.raises(UsageError) as caught:
            train_tokenizer(self.TEXTS, 1, byte_level, "WordPiece")
        least = int(caught.value.hint.rpartition(" ")[2])
        found = train_tokenizer(self.TEXTS, least, byte_level, "WordPiece")
        tokenizer = Tokenizer.from_str(found.decode())
        assert tokenizer.get_vocab_size() == least
        assert tokenizer.encode("天", add_special_tokens=False).tokens == ["<unk>"]
        assert tokenizer.encode("a1!").tokens == ["<s>", "a", "##1", "!", "</s>"]

    def test_that_the_normaliser_takes_need_none(self, minilm: bytes) -> None:
        vocab = Tokenizer.from_str(train_tokenizer(["AB"], 900, minilm).decode()).get_vocab()
        assert "A" not in vocab
        assert {"a", "##a", "z", "##z"} <= vocab.keys()


class TestRefusals:
    @pytest.mark.parametrize("kind", TRIMMABLE)
    def test_too_small(self, minilm: bytes, kind: str) -> None:
        with pytest.raises(UsageError, match="a vocabulary of 50 cannot hold") as caught:
            train_tokenizer(["a"], 50, minilm, kind)
        least = int(caught.value.hint.rpartition(" ")[2])
        made = train_tokenizer(["a"], least, minilm, kind)
        assert Tokenizer.from_str(made.decode()).get_vocab_size() == least

    def test_a_kind_that_is_none(self, minilm: bytes) -> None:
        with pytest.raises(UsageError, match="a Unigram tokenizer cannot be trained") as caught:
            train_tokenizer([], 900, minilm, "Unigram")
        assert "WordPiece" in caught.value.hint

    def test_few_texts_fill_few_pieces(self, minilm: bytes) -> None:
        made = Tokenizer.from_str(train_tokenizer(["on off"], 900, minilm).decode())
        assert 100 < made.get_vocab_size() < 200
