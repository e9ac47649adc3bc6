"""Made rows: other words in the same places, alike for the same seed, no more than asked."""

from __future__ import annotations

import re

import pytest
import torch
from edgetran_host.models.seeds import Seed, load_seed
from edgetran_host.tasks import Row
from edgetran_host.tasks.augmentation import MOST_COPIES, NEAREST, augmented, neighbours

ROWS = (
    Row("A wonderful film, and 90 minutes well spent.", None, "good"),
    Row("The plot is boring; the actors look tired.", None, "bad"),
)


@pytest.fixture(scope="module")
def seed() -> Seed:
    return load_seed("minilm")


def made(seed: Seed, rows: tuple[Row, ...], wanted: int, draw: int = 0) -> tuple[Row, ...]:
    words = seed.state["embedding.word.weight"]
    return augmented(rows, wanted, seed.tokenizer_json, words, draw)


def test_words_change_and_nothing_between_them(seed: Seed) -> None:
    found = made(seed, ROWS, 12)
    assert len(found) == 12
    for row, new in zip(ROWS * 6, found):
        assert new.label == row.label
        assert re.sub(r"[^\W\d_]+", "x", new.text) == re.sub(r"[^\W\d_]+", "x", row.text)
    assert len({row.text for row in found}) > 8


def test_a_quarter_of_the_words_change(seed: Seed) -> None:
    words = [(a, b) for row in made(seed, ROWS[1:], 20) for a, b in _pairs(row.text, ROWS[1].text)]
    share = sum(a != b.lower() and a != b for a, b in words) / len(words)
    assert 0.1 < share < 0.4


def test_the_same_draw_makes_the_same_rows(seed: Seed) -> None:
    assert made(seed, ROWS, 6) == made(seed, ROWS, 6)
    assert made(seed, ROWS, 6) != made(seed, ROWS, 6, draw=1)


def test_fewer_are_the_first_of_more(seed: Seed) -> None:
    assert made(seed, ROWS, 5) == made(seed, ROWS, 9)[:5]


@pytest.mark.parametrize(("wanted", "count"), [(0, 0), (-3, 0), (1_000, 2 * MOST_COPIES)])
def test_as_many_as_asked_and_a_row_gives(seed: Seed, wanted: int, count: int) -> None:
    assert len(made(seed, ROWS, wanted)) == count


def test_both_sentences_of_a_pair_may_change(seed: Seed) -> None:
    row = Row("The river flooded the old town.", "Water entered many houses there.", "yes")
    found = made(seed, (row,), 10)
    assert any(new.text != row.text for new in found)
    assert any(new.text_pair != row.text_pair for new in found)


def test_near_words_are_those_whose_embeddings_point_the_same_way(seed: Seed) -> None:
    words = seed.state["embedding.word.weight"]
    near = neighbours(ROWS, seed.tokenizer_json, words)
    assert all(len(others) == NEAREST and word not in others for word, others in near.items())
    assert {"great", "fantastic", "amazing", "marvelous"} & set(near["wonderful"])
    assert {"films", "movie", "movies"} & set(near["film"])


def test_words_that_the_vocabulary_lacks_stay(seed: Seed) -> None:
    row = Row("zzqxv 12345 !!!", None, "a")
    assert made(seed, (row,), 3) == (row,) * 3


def test_a_tiny_vocabulary_has_no_neighbours(seed: Seed) -> None:
    tiny = (
        '{"version":"1.0","model":{"type":"WordPiece","vocab":{"[UNK]":0,"film":1,"plot":2},'
        '"unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100}}'
    )
    assert augmented(ROWS, 2, tiny.encode(), torch.ones(3, 4), 0) == ROWS


def _pairs(one: str, other: str) -> list[tuple[str, str]]:
    return list(zip(re.findall(r"[^\W\d_]+", one), re.findall(r"[^\W\d_]+", other)))
