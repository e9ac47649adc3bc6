"""A child with another vocabulary or precision is its parent, but for the pieces that went."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.refine.deployable import (
    LEAST_PIECES,
    change_precision,
    cut_vocabulary,
    narrow_embedding,
)
from edgetran_host.refine.making import Made, make
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.vocabulary import fewest_pieces, piece_counts, trim_tokenizer
from edgetran_protos.errors import UsageError
from tokenizers import BertWordPieceTokenizer, Tokenizer

SHAPE = Architecture((Layer(32, ("sa_sdp",), 16, (64,)),))
TEXTS = ("a charming and often affecting journey", "the film was dull and grim", "unpretentious")
PIECES = 2400  # of the parent, of which the halves and three quarters are above the least


@pytest.fixture(scope="module")
def tokenizer() -> bytes:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    words += sorted({word for text in TEXTS[:2] for word in text.split()} - {"a"})
    words += [f"word{at}" for at in range(PIECES - len(words))]
    pieces = {word: at for at, word in enumerate(words)}
    return BertWordPieceTokenizer(pieces).to_str().encode()


@pytest.fixture(scope="module")
def parent(tokenizer: bytes) -> TextModel:
    torch.manual_seed(0)
    found = Tokenizer.from_str(tokenizer.decode())
    return TextModel(
        ModelConfig(
            architecture=SHAPE,
            vocab_size=found.get_vocab_size(),
            positions="absolute",
            max_positions=32,
            type_vocab_size=2,
            pad_id=found.token_to_id("[PAD]"),
            layer_norm_eps=1e-12,
            dropout=0.0,
            pooling="cls",
            outputs=2,
            sequence_length=16,
        )
    ).eval()


@pytest.fixture(scope="module")
def children(parent: TextModel, tokenizer: bytes) -> dict[str, Made]:
    found = cut_vocabulary(SHAPE, tokenizer, PIECES)
    return {one.what: make(parent, tokenizer, one, TEXTS, seed=0) for one in found}


def logits(model: TextModel, tokenizer: bytes, text: str) -> np.ndarray:
    encoding = Tokenizer.from_str(tokenizer.decode()).encode(text)
    ids = [*encoding.ids, *[model.config.pad_id] * (16 - len(encoding.ids))][:16]
    keep = [1] * len(encoding.ids) + [0] * (16 - len(encoding.ids))
    rows = [torch.tensor([row]) for row in (ids, keep[:16], [0] * 16)]
    with torch.no_grad():
        return model(*rows).numpy()


def test_vocabularies_are_cut_or_new(children: dict[str, Made]) -> None:
    assert list(children) == [
        "vocabulary 2400 to 1800 pieces",
        "vocabulary 2400 to 1200 pieces",
        "vocabulary 2400 to 1200 new pieces",
    ]
    sizes = [one.model.config.vocab_size for one in children.values()]
    assert sizes[:2] == [1800, 1200]
    assert 0 < sizes[2] <= 1200  # the texts hold no more
    for one in children.values():
        read = Tokenizer.from_str(one.tokenizer_json.decode())
        assert read.get_vocab_size() == one.model.config.vocab_size
        assert one.model.config.pad_id == read.token_to_id("[PAD]")
        assert one.inherited == 1.0


def test_a_cut_model_says_the_same_of_what_it_can_still_spell(
    parent: TextModel, tokenizer: bytes, children: dict[str, Made]
) -> None:
    for made in list(children.values())[:2]:
        assert made.weights.tokens is not None
        for text in TEXTS:  # their pieces are the most used
            before = logits(parent, tokenizer, text)
            np.testing.assert_allclose(
                logits(made.model, made.tokenizer_json, text), before, atol=1e-6
            )


def test_new_pieces_start_as_what_spells_them(
    parent: TextModel, tokenizer: bytes, children: dict[str, Made]
) -> None:
    made = children["vocabulary 2400 to 1200 new pieces"]
    old = Tokenizer.from_str(tokenizer.decode())
    new = Tokenizer.from_str(made.tokenizer_json.decode())
    shared = set(old.get_vocab()) & set(new.get_vocab())
    assert len(shared) > 50
    for piece in shared:
        row = made.model.embedding.word.weight[new.token_to_id(piece)]
        assert torch.equal(row, parent.embedding.word.weight[old.token_to_id(piece)])


def test_a_vocabulary_is_cut_as_long_as_words_have_pieces(tokenizer: bytes) -> None:
    assert [one.pieces for one in cut_vocabulary(SHAPE, tokenizer, 1400)] == [1050, 1050]
    assert not cut_vocabulary(SHAPE, tokenizer, LEAST_PIECES + 100)
    other = b'{"model": {"type": "Unigram"}}'
    assert not cut_vocabulary(SHAPE, other, 30_000)


def test_embeddings_are_narrowed_once_and_lose_nothing_that_fits(
    parent: TextModel, tokenizer: bytes
) -> None:
    parent, rng = copy.deepcopy(parent), torch.Generator().manual_seed(0)
    with torch.no_grad():  # all of the tables lies in eight directions
        basis = torch.randn(8, 32, generator=rng)
        for name, table in parent.embedding.named_parameters():
            if not name.startswith("norm."):
                table.copy_(table[:, :8] @ basis)
    (half,) = narrow_embedding(SHAPE, None)  # a quarter would be below the least
    made = make(parent, tokenizer, half, TEXTS, seed=0)
    assert made.model.config.table_width == 16
    assert not narrow_embedding(SHAPE, made.model.config.embedding_width)
    assert made.tokenizer_json == tokenizer
    for text in TEXTS:
        before = logits(parent, tokenizer, text)
        np.testing.assert_allclose(logits(made.model, tokenizer, text), before, atol=1e-5)


def test_pieces_are_counted_with_those_of_every_row(tokenizer: bytes) -> None:
    read = Tokenizer.from_str(tokenizer.decode())
    counts = piece_counts(tokenizer, TEXTS, PIECES)
    assert len(counts) == PIECES
    assert counts[read.token_to_id("[CLS]")] == counts[read.token_to_id("[SEP]")] == len(TEXTS)
    assert sum(counts) == sum(len(read.encode(text).ids) for text in TEXTS)


def test_the_fewest_pieces_can_be_had_and_no_fewer(tokenizer: bytes) -> None:
    least = fewest_pieces(tokenizer)
    assert len(trim_tokenizer(tokenizer, TEXTS, least)[1]) == least
    with pytest.raises(UsageError, match=f"choose at least {least}|cannot hold"):
        trim_tokenizer(tokenizer, TEXTS, least - 1)


def test_every_other_precision_of_the_target_is_a_child() -> None:
    known = [("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "int8")]
    found = change_precision(SHAPE, ("onnxruntime", "int8"), known)
    assert [one.variant for one in found] == [("onnxruntime", "fp32"), ("openvino", "int8")]
    assert [one.what for one in found] == ["onnxruntime fp32", "openvino int8"]
    assert {one.edit.architecture for one in found} == {SHAPE}
