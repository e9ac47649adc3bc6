"""Rows become the tokens that a board's own tokenizer makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from edgetran_daemon.serving.text import TextCodec
from edgetran_host.models.seeds import load_seed
from edgetran_host.tasks import Encoded, Row, Task, choose_sequence_length, encode
from edgetran_protos.bundle import BundleCard, Golden
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("<s>", "<pad>", "</s>", "<unk>", "turn", "on", "off", "the", "light")
ROWS = (
    Row("turn on the light", None, "b"),
    Row("the light " * 40, None, "a"),
    Row("off", None, "b"),
)
PAIRS = (
    Row("turn on", "the light", "a"),
    Row("the light " * 40, "off", "b"),
    Row("off", "the light " * 40, "a"),
    Row("on " * 30, "off " * 30, "b"),
)


def task(rows: Sequence[Row] = ROWS, kind: str = "classification") -> Task:
    pairs = rows[0].text_pair is not None
    return Task("t", kind, ("a", "b"), pairs, "accuracy", tuple(rows), tuple(rows))


def on_the_board(tokenizer_json: bytes, rows: Sequence[Row], length: int) -> dict[str, Any]:
    card = BundleCard(
        name="t",
        task="classification",
        labels=["a", "b"],
        sequence_length=length,
        tokenizer_digest="",
        architecture={},
        architecture_id="",
        variants=[],
        golden=Golden([], [], [], [], {}, 0.0),
    )
    texts = [(r.text,) if r.text_pair is None else (r.text, r.text_pair) for r in rows]
    return TextCodec(card, tokenizer_json).encode(texts)


def check_equal(found: Encoded, wanted: dict[str, Any]) -> None:
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(getattr(found, name), tensor, err_msg=name)
        assert getattr(found, name).dtype == np.int64


@pytest.fixture(scope="module")
def minilm() -> bytes:
    return load_seed("minilm").tokenizer_json


def roberta(**padding: Any) -> bytes:
    """Another kind: whole words, padding id 1, two separators between a pair."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    if padding:
        tokenizer.enable_padding(**padding)
    return bytes(tokenizer.to_str().encode())


def tokenizers(minilm: bytes) -> dict[str, bytes]:
    bare = json.loads(minilm) | {"padding": None, "truncation": None}
    return {
        "minilm": minilm,
        "minilm without padding of its own": json.dumps(bare).encode(),
        "roberta": roberta(),
        "padding of its own": roberta(pad_id=3, pad_token="<unk>", pad_type_id=1),
    }


class TestAsOnTheBoard:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.integers(3, 24))
    def test_any_text(self, minilm: bytes, texts: list[str], length: int) -> None:
        rows = [Row(text, None, "a") for text in texts]
        check_equal(encode(minilm, rows, length, task()), on_the_board(minilm, rows, length))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=4))
    def test_any_pair(self, minilm: bytes, texts: list[tuple[str, str]]) -> None:
        rows = [Row(text, pair, "a") for text, pair in texts]
        check_equal(encode(minilm, rows, 16, task(PAIRS)), on_the_board(minilm, rows, 16))

    @pytest.mark.parametrize("rows", [ROWS, PAIRS])
    @pytest.mark.parametrize("length", [6, 8, 32, 128])
    def test_any_tokenizer(self, minilm: bytes, rows: Sequence[Row], length: int) -> None:
        for name, tokenizer_json in tokenizers(minilm).items():
            found = encode(tokenizer_json, rows, length, task(rows))
            wanted = on_the_board(tokenizer_json, rows, length)
            assert found.input_ids.shape == (len(rows), length), name
            check_equal(found, wanted)

    def test_calls_do_not_touch_each_other(self, minilm: bytes) -> None:
        """One tokenizer serves all calls; what one sets must not reach the next."""
        for tokenizer_json in tokenizers(minilm).values():
            for length in (6, 32):
                check_equal(
                    encode(tokenizer_json, ROWS, length, task()),
                    on_the_board(tokenizer_json, ROWS, length),
                )
                assert choose_sequence_length(tokenizer_json, task()) == 96


class TestTokens:
    def test_short_rows_are_padded_on_the_right(self, minilm: bytes) -> None:
        found = encode(minilm, ROWS, 8, task())
        assert found.input_ids[0].tolist() == [101, 2735, 2006, 1996, 2422, 102, 0, 0]
        assert found.attention_mask[0].tolist() == [1] * 6 + [0] * 2
        assert encode(roberta(), ROWS, 8, task()).input_ids[2].tolist() == [0, 6, 2, *[1] * 5]

    def test_long_rows_keep_their_end_mark(self, minilm: bytes) -> None:
        found = encode(minilm, ROWS, 8, task())
        assert found.input_ids[1].tolist() == [101, 1996, 2422, 1996, 2422, 1996, 2422, 102]
        assert found.attention_mask[1].all()

    def test_pairs(self, minilm: bytes) -> None:
        found = encode(minilm, PAIRS, 10, task(PAIRS))
        assert found.token_type_ids[0].tolist() == [0] * 4 + [1] * 3 + [0] * 3
        for row in found.input_ids:
            assert (row == 102).sum() == 2  # neither text is cut away whole
        assert found.token_type_ids[1].tolist() == [0] * 8 + [1] * 2  # the longer one gives way
        assert found.token_type_ids[2].tolist() == [0] * 3 + [1] * 7

    def test_labels_and_slices(self, minilm: bytes) -> None:
        found = encode(minilm, ROWS, 8, task())
        assert found.labels.tolist() == [1, 0, 1]
        assert len(found) == 3
        part = found[1:]
        assert part.labels.tolist() == [0, 1]
        np.testing.assert_array_equal(part.input_ids, found.input_ids[1:])
        assert encode(minilm, (), 8, task()).input_ids.shape == (0, 8)

    def test_values_of_regression(self, minilm: bytes) -> None:
        rows = (Row("a", None, 2.5), Row("b", None, -1.0))
        labels = encode(minilm, rows, 8, task(rows, "regression")).labels
        assert labels.tolist() == [2.5, -1.0]
        assert labels.dtype == np.float32


class TestLength:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(1, 300), min_size=1, max_size=300))
    def test_holds_nearly_all_rows_and_no_more(self, minilm: bytes, counts: list[int]) -> None:
        rows = [Row("the " * count, None, "a") for count in counts]
        found = choose_sequence_length(minilm, task(rows))
        lengths = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
        fits = [np.quantile([c + 2 for c in counts], 0.99) <= length for length in lengths]
        assert found == lengths[fits.index(True)] if any(fits) else found == 256

    @pytest.mark.parametrize(("rows", "shortest"), [(ROWS, 3), (PAIRS, 5)])
    def test_one_that_holds_no_text_is_refused(
        self, minilm: bytes, rows: Sequence[Row], shortest: int
    ) -> None:
        for length in range(shortest):
            with pytest.raises(UsageError, match=f"length of {length} holds no text") as caught:
                encode(minilm, rows, length, task(rows))
            assert f"at least {shortest}" in caught.value.hint
        found = encode(minilm, rows, shortest, task(rows))
        check_equal(found, on_the_board(minilm, rows, shortest))


class TestRefusals:
    def test_no_padding_token(self) -> None:
        raw = json.loads(roberta())
        raw["model"]["vocab"] = {
            word.replace("<pad>", "pad"): i for word, i in raw["model"]["vocab"].items()
        }
        with pytest.raises(UsageError, match="no padding token") as caught:
            encode(json.dumps(raw).encode(), ROWS, 8, task())
        assert "[PAD]" in caught.value.hint

    def test_padding_on_the_left(self) -> None:
        with pytest.raises(UsageError, match="pads on the left") as caught:
            encode(roberta(direction="left", pad_id=1), ROWS, 8, task())
        assert "direction" in caught.value.hint

    @pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"model": {"type": "Other"}}'])
    def test_no_tokenizer(self, data: bytes) -> None:
        with pytest.raises(UsageError, match="tokenizer cannot be read") as caught:
            encode(data, ROWS, 8, task())
        assert caught.value.hint
