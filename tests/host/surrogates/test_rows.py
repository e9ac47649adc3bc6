"""Data files: what is read, and what is refused in words that help."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetran_host.surrogates.rows import read_rows
from edgetran_protos.errors import DataError

from tests.host.surrogates.conftest import MakeRows


def write(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_reads_what_was_measured(tmp_path: Path, make_rows: MakeRows) -> None:
    raw = make_rows(5)
    raw[2]["peak_power_w"] = None
    rows = read_rows([write(tmp_path / "a.json", raw)])
    assert rows.measures["latency_s"].tolist() == [row["latency_s"] for row in raw]
    assert np.isnan(rows.measures["peak_power_w"]).tolist() == [False, False, True, False, False]
    assert rows.setting == {"batch_size": 1, "runs": 1}
    assert rows.take(np.array([3])).ids == (rows.ids[3],)


def change(**changes: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[1].update(changes)


def without(key: str) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[1].pop(key)


def with_head(head: str) -> Callable[[list[dict[str, Any]]], None]:
    def set_head(rows: list[dict[str, Any]]) -> None:
        rows[1]["architecture"]["o"][0][0] = head

    return set_head


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without("latency_s"), "row 1 has no latency_s"),
        (without("architecture"), "row 1 needs an architecture"),
        (change(latency_ms=3.0), "unknown key 'latency_ms'"),
        (with_head("sa_xyz_64"), "'sa_xyz_64' is no head"),
        (change(latency_s=math.nan), "must be a number"),
        (change(energy_j=math.inf), "must be a number"),
        (change(energy_j="3"), "must be a number"),
        (change(peak_power_w=-1.0), "must be above 0"),
        (change(latency_s=0), "must be above 0"),
        (change(latency_s=None), "latency_s is null"),
        (change(architecture=[]), "architecture is no object"),
        (change(work={}), "needs an architecture, or the work counts"),
        (change(batch_size=32), "rows of two set-ups: batch_size is 1 and 32"),
        (change(order="first"), "order is 'first'"),
        (lambda rows: rows.__setitem__(1, 7), "row 1 is no object"),
        (lambda rows: rows.clear(), "holds no list of rows"),
    ],
)
def test_refuses_by_row_and_reason(
    tmp_path: Path, make_rows: MakeRows, spoil: Callable[[Any], None], said: str
) -> None:
    raw = make_rows(3)
    spoil(raw)
    with pytest.raises(DataError, match=said):
        read_rows([write(tmp_path / "a.json", raw)])


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{}", "[]", "\x00", '"rows"'])
def test_refuses_what_is_no_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError):
        read_rows([tmp_path / "a.json"])


def test_suggests_the_key_that_was_meant(tmp_path: Path, make_rows: MakeRows) -> None:
    raw = make_rows(2)
    raw[0]["latency"] = raw[0].pop("latency_s")
    with pytest.raises(DataError) as caught:
        read_rows([write(tmp_path / "a.json", raw)])
    assert "did you mean latency_s?" in caught.value.hint


def test_files_of_two_boards_are_told_by_the_designs_they_share(
    tmp_path: Path, make_rows: MakeRows
) -> None:
    one, other = make_rows(6), make_rows(6)
    for row in other:
        row["latency_s"] *= 4
    paths = [write(tmp_path / "a.json", one), write(tmp_path / "b.json", other)]
    with pytest.raises(DataError, match=r"two boards.* 4\.0 times"):
        read_rows(paths)
    assert len(read_rows([paths[0], write(tmp_path / "c.json", make_rows(6, noise=0.05))])) == 12
