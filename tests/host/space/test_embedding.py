"""Embedding and its inverse: published offsets, round trips, rows that are no embedding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.embedding import (
    decode,
    embed,
    head_offset,
    index_limits,
    nearest_valid,
    stack_offset,
)
from edgetran_protos.errors import ArchitectureError
from hypothesis import given, settings
from hypothesis import strategies as st

SPACE = DesignSpace.flexibert2()
SKEWED = DesignSpace(  # gaps, one kind, one layer count: nothing the indices may rely on
    name="skewed",
    layer_counts=(3,),
    hidden_sizes=(100,),
    head_counts=(1, 3),
    head_kinds=("l_dft",),
    feed_forward_widths=(10, 20),
    feed_forward_depths=(1, 3),
)


def rows(space: DesignSpace) -> st.SearchStrategy[tuple[int, ...]]:
    """Embeddings of the space, every index drawn on its own."""
    places = [st.integers(0, limit - 1) for limit in index_limits(space)]
    return st.tuples(*places).map(lambda row: nearest_valid(row, space))


def test_published_offsets() -> None:
    assert [stack_offset(depth, SPACE) for depth in (1, 2, 3)] == [0, 6, 42]
    assert [head_offset(heads, SPACE) for heads in (2, 4, 8, 12)] == [0, 28, 238, 3241]


@settings(max_examples=200, deadline=None)
@given(rows(SPACE))
def test_decode_then_embed(row: tuple[int, ...]) -> None:
    architecture = decode(row, SPACE)
    SPACE.validate(architecture)
    assert embed(architecture, SPACE) == row


@given(rows(SKEWED))
def test_any_space_round_trips(row: tuple[int, ...]) -> None:
    assert embed(decode(row, SKEWED), SKEWED) == row


def test_every_stack_and_the_edges_of_every_head_block() -> None:
    for stack in range(SPACE.stack_count):
        row = nearest_valid([0, 0, stack, 0] + [0] * 33, SPACE)
        assert embed(decode(row, SPACE), SPACE) == row
    for heads in (0, 27, 28, 237, 238, 3240, 3241, 21_804):
        row = nearest_valid([0, 0, 0, heads] + [0] * 33, SPACE)
        assert embed(decode(row, SPACE), SPACE) == row


def test_the_first_width_is_the_most_significant() -> None:
    layer = Layer(128, ("sa_sdp", "sa_sdp"), 64, (4096, 256, 512))
    row = embed(Architecture((layer, layer)), SPACE)
    assert row[2] == 42 + 5 * 36 + 0 * 6 + 1


def test_head_order_does_not_matter() -> None:
    mixed = Layer(128, ("c_9", "sa_sdp"), 64, (256,))
    sorted_ = dataclasses.replace(mixed, heads=("sa_sdp", "c_9"))
    assert embed(Architecture((mixed, mixed)), SPACE) == embed(
        Architecture((sorted_, sorted_)), SPACE
    )


def test_numpy_rows_are_taken_and_left_alone() -> None:
    row = np.arange(37)
    row[0] = 0
    before = row.copy()
    repaired = nearest_valid(row, SPACE)  # type: ignore[arg-type]
    assert (row == before).all()
    assert repaired == (0, 1, 2, 3, 3, 5, 6) + (0,) * 30  # hidden index 4 moved into range
    assert all(type(number) is int for number in repaired)
    assert decode(np.array(repaired), SPACE) == decode(repaired, SPACE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0] * 36, "has 37 numbers, got 36"),
        ([6] + [0] * 36, r"embedding\[0\] is 6, must be 0 to 5"),
        ([0, 0, 258] + [0] * 34, r"embedding\[2\] is 258, must be 0 to 257"),
        ([0, 0, 0, -1] + [0] * 33, r"embedding\[3\] is -1"),
        ([0.5] + [0] * 36, "whole numbers only"),
        ([0] * 7 + [1] + [0] * 29, "after its last layer, from place 7 on"),
    ],
)
def test_rows_that_are_no_embedding(row: list[int], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        decode(row, SPACE)


def test_off_the_lattice_there_is_no_embedding() -> None:
    layer = Layer(720, ("sa_sdp",) * 12, 60, (896,))
    with pytest.raises(ArchitectureError, match="layer 0: hidden size is 720"):
        embed(Architecture((layer, layer)), SPACE)
