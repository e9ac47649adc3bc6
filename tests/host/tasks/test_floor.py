"""The floor finds what words alone tell, and no more."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from edgetran_host.tasks import Row, Task, floor_score, load_task

NOUNS = ("lamp", "door", "film", "song", "road", "cat")


def task(rows: list[Row], *, train: int, labels: tuple[str, ...]) -> Task:
    kind, metric = ("classification", "accuracy") if labels else ("regression", "pearson_spearman")
    pairs = rows[0].text_pair is not None
    return Task("t", kind, labels, pairs, metric, tuple(rows[:train]), tuple(rows[train:]))


def drawn(count: int, seed: int = 3) -> list[tuple[str, bool]]:
    """Texts of two nouns, and whether a coin fell on heads."""
    rng = np.random.default_rng(seed)
    return [(" ".join(rng.choice(NOUNS, 2)), bool(rng.integers(2))) for _ in range(count)]


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("good", "bad"),
        ("a", "b"),  # words of one letter count
        (":)", ":("),  # and so do signs
        ("x y", "y x"),  # as does the order of two words
    ],
)
def test_words_that_tell_the_label(yes: str, no: str) -> None:
    rows = [Row(f"{t} {yes if head else no}", None, str(head)) for t, head in drawn(120)]
    assert floor_score(task(rows, train=80, labels=("False", "True"))).value == 1.0


def test_three_labels_and_both_texts_of_a_pair() -> None:
    signs = {0: ("one", "so"), 1: ("two", "so"), 2: ("two", "but")}
    rows = [
        Row(f"{text} {signs[i % 3][0]}", f"{signs[i % 3][1]} {text}", str(i % 3))
        for i, (text, _) in enumerate(drawn(150))
    ]
    assert floor_score(task(rows, train=90, labels=("0", "1", "2"))).value == 1.0


def test_nothing_to_tell_by_is_chance() -> None:
    rows = [Row(text, None, str(head)) for text, head in drawn(2000)]
    found = floor_score(task(rows, train=1000, labels=("False", "True")))
    assert 0.44 < found.value < 0.56


def test_regression() -> None:
    rows = [
        Row(text, None, float(sum(NOUNS.index(word) for word in text.split())))
        for text, _ in drawn(200)
    ]
    found = floor_score(task(rows, train=120, labels=()))
    assert found.others["spearman"] > 0.9


def test_words_never_seen_in_training() -> None:
    rows = [Row("good", None, "1"), Row("bad", None, "0"), Row("unheard", None, "1")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert floor_score(task(rows, train=2, labels=("0", "1"))).value in (0.0, 1.0)


def test_labels_that_the_limited_training_rows_lack() -> None:
    rows = [Row("good", None, "1"), Row("bad", None, "0"), Row("fair", None, "2")]
    assert floor_score(task(rows, train=2, labels=("0", "1", "2"))).value == 0.0


def test_sst2(shared: Path) -> None:
    """As measured before: 77.6 % from 8,000 rows."""
    found = floor_score(load_task(str(shared / "data" / "glue" / "SST-2"), limit=8_000))
    assert found.value == pytest.approx(0.776, abs=0.02)
