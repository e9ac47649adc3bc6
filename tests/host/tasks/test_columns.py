"""Columns are found by name, classes told from quantities, and nothing else is guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from edgetran_host.tasks.columns import LABELS, PAIRS, SINGLES, Layout, layout_of, rows_of
from edgetran_host.tasks.tables import Table
from edgetran_host.tasks.task import Row
from hypothesis import given
from hypothesis import strategies as st

Refused = Callable[..., AbstractContextManager[None]]


def table(columns: Sequence[str], *rows: Sequence[str], **more: object) -> Table:
    return Table(
        Path("rows.csv"),
        tuple(columns),
        tuple(tuple(row) for row in rows),
        tuple(range(2, 2 + len(rows))),
        **more,  # type: ignore[arg-type]
    )


def labelled(labels: Sequence[str]) -> Table:
    return table(("text", "label"), *((f"text {i}", label) for i, label in enumerate(labels)))


def numeric(labels: Sequence[object]) -> bool:
    return layout_of(labelled([str(label) for label in labels])).numeric


class TestNames:
    @pytest.mark.parametrize("label", LABELS)
    @pytest.mark.parametrize("text", SINGLES)
    def test_single(self, text: str, label: str) -> None:
        found = layout_of(table((label, "other", text), ("a", "x", "one"), ("b", "y", "two")))
        assert found == Layout(text, None, label, numeric=False)

    @pytest.mark.parametrize("pair", PAIRS)
    def test_pair(self, pair: tuple[str, str]) -> None:
        found = table(("id", *pair, "label"), ("0", "a", "b", "x"), ("1", "c", "d", "y"))
        layout = layout_of(found)
        assert (layout.text, layout.pair) == pair
        assert rows_of(found, layout) == (Row("a", "b", "x"), Row("c", "d", "y"))

    def test_no_text_column(self, refused: Refused) -> None:
        with refused("no text column", "message, label", "sentence"):
            layout_of(table(("message", "label"), ("a", "0")))

    def test_no_label_column(self, refused: Refused) -> None:
        with refused("no label column", "text, klass", "label"):
            layout_of(table(("text", "klass"), ("a", "0")))

    def test_a_first_row_taken_for_names_is_not_printed_whole(self, refused: Refused) -> None:
        with refused("no label column; its columns are A long text of two", "..., 1"):
            layout_of(table(("A long text\nof two lines. " * 30, "1"), ("a", "0")))

    def test_dev_must_have_the_columns_of_train(self, refused: Refused) -> None:
        layout = layout_of(labelled(["a", "b"]))
        with refused("lacks the column label", "text, intent"):
            layout_of(table(("text", "intent"), ("x", "a")), layout)

    @pytest.mark.parametrize("column", ["text", "label"])
    def test_lists_are_no_text(self, refused: Refused, column: str) -> None:
        found = table(("text", "label"), ("a", "x"), structured=frozenset([column]))
        with refused(f"{column} holds lists"):
            layout_of(found)
        with refused(f"{column} holds lists"):
            layout_of(found, Layout("text", None, "label", numeric=False))


class TestKind:
    @pytest.mark.parametrize(
        ("labels", "quantities"),
        [
            (["0", "1"] * 5, False),
            (["yes", "no"] * 5, False),
            (["-1", "0", "1"] * 5, False),
            (["1.0", "0.0"] * 5, False),  # as pandas writes classes when some are missing
            (["0.5", "1.0"] * 5, True),
            (["5.000", "3.200", "0.000"], True),
            (["1e-3", "2"], True),
            (range(0, 1000, 10), True),  # many whole numbers with gaps
            (list(range(65)) * 10, False),  # many numbered classes with enough rows each
            (list(range(1, 151)) * 20, False),
            (list(range(65)) * 9, True),
            (list(range(18, 90)) * 10, True),  # ages
            (["1.5", "red"], False),  # as many words as numbers
            ([f"1_{i}" for i in (0, 1, 2)] * 4, False),  # a number only to Python
        ],
    )
    def test_quantities(self, labels: Sequence[object], quantities: bool) -> None:
        assert numeric(labels) == quantities

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
    def test_fractions_are_read_exactly(self, values: list[float]) -> None:
        rows = labelled([repr(value) for value in [*values, 0.25]])
        layout = layout_of(rows)
        assert [row.label for row in rows_of(rows, layout)] == [*values, 0.25]

    def test_declared_classes_are_no_quantities(self) -> None:
        rows = labelled(["0.5", "1.5"])
        classes = {"label": ("0.5", "1.5")}
        assert not layout_of(table(rows.columns, *rows.rows, classes=classes)).numeric


class TestRefusals:
    @pytest.mark.parametrize("strange", ["n/a", "NaN", "inf", "-Infinity", "3,5", "1_0"])
    def test_a_word_among_quantities(self, refused: Refused, strange: str) -> None:
        rows = labelled(["1.5", "2.5", strange, "3.5"])
        with refused("line 4", repr(strange), "no number"):
            rows_of(rows, layout_of(rows))

    def test_nan_is_no_class_among_numbers(self, refused: Refused) -> None:
        rows = labelled(["1.0", "0.0", "nan", "1.0"])
        with refused("line 4", "'nan'", "no number"):
            rows_of(rows, layout_of(rows))

    @pytest.mark.parametrize(
        ("row", "name"),
        [(("", "b", "0"), "text1"), (("a", " \t", "0"), "text2"), (("a", "b", ""), "label")],
    )
    def test_empty_cells(self, refused: Refused, row: Sequence[str], name: str) -> None:
        rows = table(("text1", "text2", "label"), ("a", "b", "1"), row)
        with refused("line 3", f"{name} is empty"):
            rows_of(rows, layout_of(rows))

    @pytest.mark.parametrize(
        ("row", "name"), [(("a\ud83d", "0"), "text"), (("a", "\udc00b"), "label")]
    )
    def test_half_a_character(self, refused: Refused, row: Sequence[str], name: str) -> None:
        rows = table(("text", "label"), ("a \U0001f600", "1"), row)
        with refused("line 3", f"{name} holds half a character"):
            rows_of(rows, layout_of(rows))

    @pytest.mark.parametrize(
        "labels",
        [
            [f"user-{i}" for i in range(40)],
            [f"text {i // 2}" for i in range(41)] + ["once"],
            range(100),
            range(5000, 5200),
            [f"{i}.0" for i in range(100)],
        ],
    )
    def test_the_wrong_column_as_label(self, refused: Refused, labels: Sequence[object]) -> None:
        distinct = len({str(label) for label in labels})
        with refused(f"{distinct} different labels", f"{len(labels)} rows", "right column"):
            numeric(labels)

    def test_a_short_dev_may_hold_each_label_once(self) -> None:
        names = [f"intent {i}" for i in range(20)]
        layout = layout_of(labelled(names * 3))
        assert layout_of(labelled(names), layout) == layout
