"""New pieces are spelt with old ones: exactly, for any text, between both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from edgetran_host.models.new_vocabulary import with_tokenizer
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.respelling import spell
from edgetran_host.tokenizer_training import train_tokenizer
from edgetran_host.vocabulary import TRIMMABLE, trim_tokenizer
from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer


@pytest.fixture(scope="module")
def minilm() -> bytes:
    return load_seed("minilm").tokenizer_json


def pieces(tokenizer_json: bytes) -> dict[str, int]:
    found: dict[str, int] = Tokenizer.from_str(tokenizer_json.decode()).get_vocab()
    return found


def spelt(new: bytes, old: bytes) -> dict[str, list[str]]:
    """New piece -> the old pieces."""
    names = {at: piece for piece, at in pieces(old).items()}
    found = spell(new, old)
    return {piece: [names[at] for at in found[where]] for piece, where in pieces(new).items()}


class TestByHand:
    def test_word_pieces_with_word_pieces(self, minilm: bytes) -> None:
        texts = ["thermostat thermostats unlocking"] * 20
        found = spelt(train_tokenizer(texts, 900, minilm), minilm)
        assert found["[CLS]"] == ["[CLS]"]
        assert found["thermostat"] == ["the", "##rm", "##osta", "##t"]
        assert found["##q"] == ["##q"]
        assert found["!"] == ["!"]
        assert found["##~"] == ["##~"]

    def test_byte_pairs_with_word_pieces(self, minilm: bytes) -> None:
        texts = ["turn on the Café thermostats, it's 12:30"] * 20
        found = spelt(train_tokenizer(texts, 600, minilm, "byte-level BPE"), minilm)
        assert found["Ġturn"] == ["turn"]
        assert found["Ġthermostats"] == ["the", "##rm", "##osta", "##ts"]
        assert found["r"] == ["##r"]
        assert found["'s"] == ["'", "s"]
        assert found["Ġcafe"] == ["cafe"]
        assert found["Ã"] == []  # half a character
        assert found["Ġ"] == []

    def test_word_pieces_with_byte_pairs(self, byte_level: bytes) -> None:
        texts = ["kitchen über"] * 20
        found = spelt(train_tokenizer(texts, 400, byte_level, "WordPiece"), byte_level)
        assert found["<s>"] == ["<s>"]
        assert found["kitchen"] == ["Ġkitchen"]
        assert found["a"] == ["Ġa"]
        assert found["##a"] == ["a"]
        assert found["##ü"] == ["Ã", "¼"]

    def test_byte_pairs_with_byte_pairs(self, small_byte_level: Callable[..., bytes]) -> None:
        old = small_byte_level([["a", "b"], ["Ġ", "c"]])
        new = small_byte_level([["a", "b"], ["ab", "Ã"], ["Ġ", "ab"], ["Ġ", "c"]])
        found = spelt(new, old)
        assert found["ab"] == ["ab"]
        assert found["abÃ"] == ["ab", "Ã"]
        assert found["Ġab"] == ["Ġ", "ab"]
        assert found["Ġc"] == ["Ġc"]
        assert found["Ġ"] == ["Ġ"]


class TestOfRealText:
    @pytest.mark.parametrize("kind", TRIMMABLE)
    @pytest.mark.parametrize("name", ["minilm", "byte_level"])
    def test_says_what_the_piece_says(
        self, name: str, kind: str, minilm: bytes, byte_level: bytes, commands: list[str]
    ) -> None:
        """The old pieces, put together, are the new one; nearly all of them are spelt."""
        old = {"minilm": minilm, "byte_level": byte_level}[name]
        new = train_tokenizer(commands, 900, old, kind)
        tokenizers = [Tokenizer.from_str(data.decode()) for data in (old, new)]
        said = []
        found = spell(new, old)
        assert len(found) == 900
        empty = sum(not ids for ids in found)
        for at, ids in enumerate(found):
            if ids:
                texts = [
                    "".join(
                        tokenizer.decode([each], skip_special_tokens=False).removeprefix("##")
                        for each in row
                    )
                    for tokenizer, row in zip(tokenizers, (ids, (at,)))
                ]
                said.append([text.replace(" ", "").lower() for text in texts])
        assert all(one == other for one, other in said if "\ufffd" not in one + other)
        crossed = kind == "byte-level BPE" and name == "minilm"
        assert empty <= (200 if crossed else 0)  # single bytes of longer characters

    def test_equals_the_trimmed_where_pieces_are_the_same(
        self, minilm: bytes, byte_level: bytes, commands: list[str]
    ) -> None:
        """A trimmed vocabulary is spelt by the very ids that trimming kept."""
        for old in (minilm, byte_level):
            small, kept = trim_tokenizer(old, commands, 1200)
            assert spell(small, old) == tuple((at,) for at in kept)


class TestModel:
    @torch.no_grad()
    def test_rows_are_means_and_all_else_stays(self, minilm: bytes, commands: list[str]) -> None:
        model = seed_model(load_seed("minilm"), 2, 16)
        new = train_tokenizer(commands, 900, minilm)
        found = with_tokenizer(model, minilm, new)
        old = model.embedding.word.weight
        for at, ids in enumerate(spell(new, minilm)):
            wanted = torch.stack([old[each] for each in ids]).mean(0)
            torch.testing.assert_close(found.embedding.word.weight[at], wanted)
        others = {n: x for n, x in model.state_dict().items() if "embedding.word" not in n}
        assert all(torch.equal(found.state_dict()[name], x) for name, x in others.items())
        assert found.config.vocab_size == 900
        assert found.config.pad_id == pieces(new)["[PAD]"]

    @torch.no_grad()
    def test_a_text_of_the_same_pieces_gets_the_same_logits(
        self, minilm: bytes, commands: list[str]
    ) -> None:
        model = seed_model(load_seed("minilm"), 2, 16)
        small, kept = trim_tokenizer(minilm, commands, 900)
        found = with_tokenizer(model, minilm, small)
        ids = torch.tensor([Tokenizer.from_str(small.decode()).encode("turn it on").ids[:5]])
        mask, types = torch.ones_like(ids), torch.zeros_like(ids)
        before = model(torch.tensor(kept)[ids], mask, types)
        torch.testing.assert_close(found(ids, mask, types), before)

    @torch.no_grad()
    def test_what_nothing_spells_starts_at_the_mean(self, minilm: bytes) -> None:
        model = seed_model(load_seed("minilm"), 2, 16)
        new = train_tokenizer(["a"], 300, minilm, "byte-level BPE")
        found = with_tokenizer(model, minilm, new)
        row = found.embedding.word.weight[pieces(new)["Ã"]]
        torch.testing.assert_close(row, model.embedding.word.weight.mean(0))

    def test_a_tokenizer_without_the_padding_token(self, minilm: bytes, byte_level: bytes) -> None:
        model = seed_model(load_seed("minilm"), 2, 16)
        with pytest.raises(UsageError, match="padding token 0") as caught:
            with_tokenizer(model, minilm, byte_level)
        assert caught.value.hint


def test_other_kinds_are_refused(minilm: bytes) -> None:
    raw = json.loads(minilm)
    raw["model"] = {"type": "Unigram", "vocab": [], "unk_id": None}
    with pytest.raises(UsageError, match="Unigram") as caught:
        spell(json.dumps(raw).encode(), minilm)
    assert caught.value.hint
