"""The closed-form ranking against the obvious table."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest
from edgetran_host.space.head_sets import count_head_sets, head_set_at, rank_head_set


@pytest.mark.parametrize(("heads", "kinds"), [(1, 1), (2, 7), (4, 7), (3, 1), (5, 3), (8, 7)])
def test_agrees_with_listing_all(heads: int, kinds: int) -> None:
    table = list(combinations_with_replacement(range(kinds), heads))  # lexicographic
    assert count_head_sets(heads, kinds) == len(table)
    for rank, indices in enumerate(table):
        assert rank_head_set(indices, kinds) == rank
        assert head_set_at(rank, heads, kinds) == indices


def test_published_blocks() -> None:
    assert [count_head_sets(heads, 7) for heads in (2, 4, 8, 12)] == [28, 210, 3003, 18564]
