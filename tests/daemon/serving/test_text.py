"""Strings to tensors and logits to answers, with the strings that users really send."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgetran_daemon.serving.text import MAX_CHARACTERS, MAX_ROWS, TextCodec, softmax
from edgetran_protos.bundle import BundleCard
from edgetran_protos.errors import BundleError, InputError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

NAMES = {"input_ids", "attention_mask", "token_type_ids"}
one_codec = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def card(tmp_path: Path, tiny: ModuleType) -> BundleCard:
    found: BundleCard = tiny.make(tmp_path / "bundle").card
    return found


@pytest.fixture
def codec(card: BundleCard, tiny: ModuleType) -> TextCodec:
    return TextCodec(card, tiny.tokenizer_json())


def test_golden_rows_give_the_golden_tokens(codec: TextCodec, tiny: ModuleType) -> None:
    found = codec.encode([tuple(row) for row in tiny.TEXTS])
    expected = tiny.encode(tiny.TEXTS)
    assert set(found) == NAMES
    for name, tensor in found.items():
        assert tensor.dtype == np.int64
        np.testing.assert_array_equal(tensor, expected[name])


@one_codec
@given(st.lists(st.tuples(st.text(max_size=40)) | st.tuples(st.text(), st.text()), min_size=1))
def test_any_text_gives_whole_rows(
    codec: TextCodec, tiny: ModuleType, texts: list[tuple[str, ...]]
) -> None:
    found = codec.encode(texts)
    for tensor in found.values():
        assert tensor.shape == (len(texts), tiny.LENGTH)
    assert ((found["attention_mask"] == 0) | (found["attention_mask"] == 1)).all()
    assert (found["input_ids"][found["attention_mask"] == 0] == 0).all(), "[PAD] is word 0"
    assert (found["input_ids"] < len(tiny.WORDS)).all()


def test_long_texts_are_cut_at_the_end(codec: TextCodec, tiny: ModuleType) -> None:
    found = codec.encode([("turn " * 7 + "music heat",)])
    words = [tiny.WORDS[i] for i in found["input_ids"][0]]
    assert words == ["turn"] * 7 + ["music"]


def test_the_second_text_has_its_own_type(codec: TextCodec) -> None:
    found = codec.encode([("turn on", "the light")])
    assert found["token_type_ids"][0, :4].tolist() == [0, 0, 1, 1]
    assert found["attention_mask"][0].sum() == 4


def test_a_tokenizer_keeps_its_own_padding(card: BundleCard, tiny: ModuleType) -> None:
    raw = json.loads(tiny.tokenizer_json())
    raw["padding"] = {
        "strategy": {"Fixed": 3},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 9,
        "pad_type_id": 1,
        "pad_token": "music",
    }
    found = TextCodec(card, json.dumps(raw).encode()).encode([("turn on",)])
    assert found["input_ids"][0].tolist() == [9] * 6 + [2, 3]
    assert found["token_type_ids"][0].tolist() == [1] * 6 + [0, 0]


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        ([], "no text"),
        ([("a",)] * (MAX_ROWS + 1), str(MAX_ROWS + 1)),
        ([("a" * (MAX_CHARACTERS + 1),)], str(MAX_CHARACTERS + 1)),
        ([("a", "b" * (MAX_CHARACTERS + 1))], str(MAX_CHARACTERS + 1)),
    ],
)
def test_too_little_and_too_much(codec: TextCodec, texts: list[tuple[str, ...]], word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        codec.encode(texts)
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff", b'{"model": {"type": "BPE"}}'])
def test_a_tokenizer_that_is_none(card: BundleCard, data: bytes) -> None:
    with pytest.raises(BundleError, match="tokenizer"):
        TextCodec(card, data)


@pytest.mark.parametrize("length", [-1, 1 << 70, "eight", None])
def test_a_length_that_is_none(card: BundleCard, tiny: ModuleType, length: object) -> None:
    wrong = dataclasses.replace(card, sequence_length=length)  # type: ignore[arg-type]
    with pytest.raises(BundleError):
        TextCodec(wrong, tiny.tokenizer_json())


@given(arrays.arrays(np.float32, (3, 3), elements=st.floats(-1e4, 1e4, width=32)))
def test_softmax(logits: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    found = softmax(logits)
    for row, probabilities in zip(logits.astype(float), found):
        weights = [math.exp(value - max(row)) for value in row]
        expected = [weight / math.fsum(weights) for weight in weights]
        assert probabilities.tolist() == pytest.approx(expected)
    np.testing.assert_allclose(softmax(logits + np.float32(8)), found, atol=1e-3)


def test_the_most_probable_label_wins(codec: TextCodec, tiny: ModuleType) -> None:
    first, second = codec.decode(np.array([[0, 2, 1], [5, -5, 0]], np.float32))
    assert (first.label, second.label) == ("heat", "light")
    assert list(first.scores) == tiny.LABELS
    assert first.score == max(first.scores.values())
    assert sum(second.scores.values()) == pytest.approx(1)


def test_a_regression_answers_with_its_number(card: BundleCard, tiny: ModuleType) -> None:
    number = dataclasses.replace(card, task="regression", labels=[])
    found = TextCodec(number, tiny.tokenizer_json()).decode(np.array([[3.5], [-1]], np.float32))
    assert [(one.label, one.score, one.scores) for one in found] == [("", 3.5, {}), ("", -1.0, {})]
