"""Numbers the multisets of heads a layer can hold, in closed form: no table is kept.

A multiset of n heads over k kinds is the non-decreasing tuple a_1 <= ... <= a_n of
kind indices 0..k-1. Its rank is its place among all such tuples in lexicographic
order. m entries chosen from the kinds v..k-1 make C(m + k - v - 1, m) tuples, so the
tuples that first differ from `a` at place i, by a smaller v there, are counted by one
binomial for every v.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def count_head_sets(heads: int, kinds: int) -> int:
    """Multisets of `heads` heads over `kinds` kinds."""
    return comb(heads + kinds - 1, heads)


def rank_head_set(indices: Sequence[int], kinds: int) -> int:
    """indices: non-decreasing kind indices, each below `kinds`."""
    rank, lowest = 0, 0
    for place, index in enumerate(indices):
        left = len(indices) - place - 1
        rank += sum(count_head_sets(left, kinds - smaller) for smaller in range(lowest, index))
        lowest = index
    return rank


def head_set_at(rank: int, heads: int, kinds: int) -> tuple[int, ...]:
    """The inverse of `rank_head_set`; rank in 0..count_head_sets(heads, kinds)-1."""
    indices: list[int] = []
    index = 0
    for left in reversed(range(heads)):
        while rank >= (block := count_head_sets(left, kinds - index)):
            rank -= block
            index += 1
        indices.append(index)
    return tuple(indices)
