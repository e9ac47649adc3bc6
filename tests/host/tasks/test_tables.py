"""Tables come back as they were written, or the file is refused with the line at fault."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from edgetran_host.tasks.tables import SUFFIXES, read_table
from hypothesis import given, settings
from hypothesis import strategies as st

Refused = Callable[..., AbstractContextManager[None]]

COLUMNS = ("sentence", "label")
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NO_TABS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), max_size=12
)


def cells(cell: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(cell, cell), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


class TestRoundTrip:
    @settings(max_examples=60, deadline=None)
    @given(cells(NO_TABS), st.sampled_from(["\n", "\r\n"]), st.booleans())
    def test_tsv(self, folder: Path, rows: list[tuple[str, str]], end: str, bom: bool) -> None:
        text = "".join("\t".join(row) + end for row in [COLUMNS, *rows])
        table = read_table(write(folder / "rows.tsv", "\ufeff" * bom + text))
        assert table.columns == COLUMNS
        assert list(table.rows) == rows
        assert list(table.lines) == list(range(2, 2 + len(rows)))

    @settings(max_examples=100, deadline=None)
    @given(cells(ANY), st.sampled_from(["\n", "\r\n"]))
    def test_csv(self, folder: Path, rows: list[tuple[str, str]], end: str) -> None:
        out = io.StringIO(newline="")
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([COLUMNS, *rows])
        table = read_table(write(folder / "rows.csv", out.getvalue()))
        assert table.columns == COLUMNS
        assert list(table.rows) == rows

    @settings(max_examples=60, deadline=None)
    @given(cells(ANY), st.booleans(), st.sampled_from(["\n", "\n\n", "\r\n"]))
    def test_jsonl(
        self, folder: Path, rows: list[tuple[str, str]], ascii_only: bool, end: str
    ) -> None:
        """Unescaped, a string may hold what str.splitlines() takes for the end of a line."""
        objects = [dict(zip(COLUMNS, row)) for row in rows]
        text = "".join(json.dumps(item, ensure_ascii=ascii_only) + end for item in objects)
        table = read_table(write(folder / "rows.jsonl", text))
        assert list(table.rows) == rows

    @settings(max_examples=40, deadline=None)
    @given(cells(ANY), st.sampled_from([None, 2]))
    def test_json(self, folder: Path, rows: list[tuple[str, str]], indent: int | None) -> None:
        text = json.dumps([dict(zip(COLUMNS, row)) for row in rows], indent=indent)
        table = read_table(write(folder / "rows.json", text))
        assert list(table.rows) == rows
        assert list(table.lines) == list(range(1, 1 + len(rows)))


class TestLayouts:
    def test_quotes_in_tsv_are_characters(self, folder: Path) -> None:
        text = 'sentence\tlabel\n" he said\t1\nshe "\t0\n'
        table = read_table(write(folder / "rows.tsv", text))
        assert table.rows == (('" he said', "1"), ('she "', "0"))

    def test_tsv_without_header_is_cola(self, folder: Path) -> None:
        text = "gj04\t1\t\tOne more.\ngj04\t0\t*\tMore one.\n"
        table = read_table(write(folder / "rows.tsv", text))
        assert table.columns[3] == "sentence"
        assert [row[3] for row in table.rows] == ["One more.", "More one."]
        assert table.lines == (1, 2)

    def test_blank_lines_hold_no_row_but_count(self, folder: Path) -> None:
        text = "sentence\tlabel\r\na\t0\r\n\r\nb\t1\r\n"
        assert read_table(write(folder / "rows.tsv", text)).lines == (2, 4)

    def test_suffix_in_capitals(self, folder: Path) -> None:
        assert read_table(write(folder / "ROWS.CSV", "text,label\na,0\n")).rows == (("a", "0"),)

    def test_objects_may_lack_and_add_keys(self, folder: Path) -> None:
        """Nothing that some row holds is dropped; what a row lacks is empty."""
        text = '{"text": "a", "note": null}\n{"label": 1, "text": "b"}\n'
        table = read_table(write(folder / "rows.jsonl", text))
        assert table.columns == ("text", "note", "label")
        assert table.rows == (("a", "", ""), ("b", "", "1"))

    def test_lists_and_objects_are_told_from_text(self, folder: Path) -> None:
        text = '[{"text": "a", "words": ["a"]}, {"text": {"en": "b"}, "words": []}]'
        assert read_table(write(folder / "rows.json", text)).structured == {"text", "words"}


class TestRefusals:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_missing(self, folder: Path, refused: Refused, suffix: str) -> None:
        with refused(f"none{suffix} does not exist"):
            read_table(folder / f"none{suffix}")

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_folder(self, tmp_path: Path, refused: Refused, suffix: str) -> None:
        path = tmp_path / f"rows{suffix}"
        path.mkdir()
        with refused(path.name, "directory"):
            read_table(path)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
    def test_empty(self, folder: Path, refused: Refused, suffix: str, text: str) -> None:
        with refused("is empty"):
            read_table(write(folder / f"rows{suffix}", text))

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_not_utf8(self, folder: Path, refused: Refused, suffix: str) -> None:
        data = 'text,label\nfine,1\n"café",0\n'.encode("latin1")
        with refused("not UTF-8", "line 3", "0xe9", "iconv"):
            read_table(write(folder / f"rows{suffix}", data))

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("rows.tsv", "sentence\tlabel\n", ["no rows"]),
            ("rows.csv", "text,label\n", ["no rows"]),
            ("rows.json", "[]", ["no rows"]),
            ("rows.tsv", "sentence\tlabel\na\t0\nb\n", ["line 3", "1 field", "2"]),
            ("rows.tsv", "sentence\tlabel\na\tb\t0\n", ["line 2", "3 fields", "2"]),
            ("rows.csv", "text,label\none, two,0\n", ["line 2", "3 fields", "quote"]),
            ("rows.csv", "text;label\na;0\n", ["one column", "commas"]),
            ("rows.tsv", "text,label\na,0\n", ["one column", "tabs"]),
            ("rows.csv", "text,label,text\na,0,b\n", ["column text twice"]),
            ("rows.csv", 'text,label\n"never closed,0\n', ["line 2", "quote"]),
            ("rows.csv", 'text,label\n"a" b,0\n', ["line 2", "quote"]),
            ("rows.csv", "text,label\n" + "a" * 200_000 + ",0\n", ["line 2", "field"]),
            ("rows.json", '{"data": []}', ["no list", "dict"]),
            ("rows.json", '{"text": "a"}\n{"text": "b"}', ["not JSON", ".jsonl"]),
            ("rows.json", "[" * 100_000, ["not JSON"]),
            ("rows.json", "[1, 2]", ["row 1", "int"]),
            (
                "rows.jsonl",
                '{"text": "a", "label": 0}\n{"text": ',
                ["line 2", "not JSON", "at column 10"],
            ),
            ("rows.jsonl", '{"text": "a", "label": 0}\n\n["b", 1]\n', ["row 3", "list"]),
            ("rows.jsonl", "[" * 100_000, ["line 1", "not JSON"]),
            ("rows.jsonl", '{"text": ' + "9" * 5000 + "}", ["line 1", "not JSON"]),
        ],
    )
    def test_malformed(
        self, folder: Path, refused: Refused, name: str, text: str, words: list[str]
    ) -> None:
        with refused(name, *words):
            read_table(write(folder / name, text))

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(SUFFIXES), st.binary(max_size=60))
    def test_noise_gives_a_table_or_a_refusal(
        self, folder: Path, refused: Refused, suffix: str, data: bytes
    ) -> None:
        path = write(folder / f"noise{suffix}", data)
        try:
            table = read_table(path)
        except Exception:  # whatever it is, it must be ours
            with refused():
                read_table(path)
        else:
            assert table.rows
            assert all(len(row) == len(table.columns) for row in table.rows)
