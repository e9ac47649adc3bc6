"""Pieces of raw samples: what goes in comes out, small, and nothing else is taken for one."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from edgetran_protos.measuring.series import (
    COLUMNS,
    UNKNOWN,
    SeriesError,
    cut,
    decode,
    digest,
    encode,
    join,
)
from hypothesis import given
from hypothesis import strategies as st

numbers = st.one_of(st.integers(0, 1 << 61), st.just(UNKNOWN))
some_columns = st.dictionaries(st.sampled_from(sorted(COLUMNS)), st.lists(numbers, max_size=20))


@given(some_columns)
def test_what_goes_in_comes_out(columns: dict[str, list[int]]) -> None:
    found = decode(encode(columns))
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values for name, values in columns.items() if values
    }


@given(st.lists(some_columns, max_size=4))
def test_pieces_join_in_order(pieces: list[dict[str, list[int]]]) -> None:
    whole = join(decode(encode(piece)) for piece in pieces)
    assert set(whole) == set(COLUMNS)
    for name, values in whole.items():
        assert values.tolist() == [v for piece in pieces for v in piece.get(name, [])]


def test_the_same_samples_have_the_same_digest() -> None:
    columns = {"run_ns": list(range(1000)), "seen_ns": [5, 6]}
    assert encode(columns) == encode(columns)
    assert digest(encode(columns)) != digest(encode({**columns, "seen_ns": [5, 7]}))


def test_a_run_costs_few_bytes() -> None:
    rng = np.random.default_rng(0)
    run_ns = rng.normal(1e6, 1e4, 20_000).astype(np.int64)
    start_ns = 10**15 + np.cumsum(run_ns + 300)
    assert len(encode({"run_ns": run_ns, "start_ns": start_ns})) / len(run_ns) < 8


def test_any_numpy_reads_a_piece() -> None:
    with np.load(io.BytesIO(encode({"run_ns": [7, 9, 12]})), allow_pickle=False) as found:
        assert np.cumsum(found["run_ns"]).tolist() == [7, 9, 12]


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def bomb() -> bytes:
    """A few kilobytes that say they hold much more than any measurement."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run_ns.npy", b"\0" * (257 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        json.dumps({"run_ns": [1]}).encode(),
        pickle.dumps([1]),
        npz(run_ns=np.array([1.5])),
        npz(run_ns=np.array([[1]])),
        npz(run_ns=np.array([object()])),
        npz(other=np.array([1])),
        encode({"run_ns": [1, 2, 3]})[:-9],
        bomb(),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(SeriesError):
        decode(data)


def test_unknown_columns_are_not_written() -> None:
    with pytest.raises(SeriesError, match="mystery"):
        encode({"mystery": [1]})


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5))
def test_stretches_are_cut_as_they_were_joined(parts: list[list[int]]) -> None:
    values = np.array([v for part in parts for v in part], np.int64)
    lengths = np.array([len(part) for part in parts], np.int64)
    assert [part.tolist() for part in cut(values, lengths)] == parts


@pytest.mark.parametrize("lengths", [[2], [4], [5, -2]])
def test_stretches_that_do_not_add_up_are_refused(lengths: list[int]) -> None:
    with pytest.raises(SeriesError):
        cut(np.arange(3), np.array(lengths))
