"""Changes of a layer: drawn for one, applied alike to others.

What a change sets is drawn away from the layer it is drawn for: a width, a number of heads,
their kinds, the depth of the feed-forward stack. Every change leaves a layer of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgetran_host.space.architecture import HEAD_KINDS, Layer
from edgetran_host.space.design_space import DesignSpace

Rng = np.random.Generator
Change = Callable[[Layer], Layer]

STEP = 0.75  # of changes of a number go to the next value, the others anywhere


def draw_change(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    """Away from this layer; others may be changed by it as well."""
    return CHANGES[int(rng.integers(len(CHANGES)))](layer, space, rng)


def shaped(space: DesignSpace, hidden: int, heads: Sequence[str], stack: Sequence[int]) -> Layer:
    """Heads in canonical order, each of the size it has in the space."""
    ordered = tuple(sorted(heads, key=HEAD_KINDS.index))
    return Layer(hidden, ordered, space.head_size(hidden, len(ordered)), tuple(stack))


def resized(heads: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` heads, their kinds in proportion to those of `heads`."""
    return tuple(heads[at * len(heads) // count] for at in range(count))


def restacked(stack: Sequence[int], depth: int) -> tuple[int, ...]:
    """Cut from the end, or the last width repeated."""
    return tuple(stack[min(at, len(stack) - 1)] for at in range(depth))


def _hidden(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    target = _another(layer.hidden, space.hidden_sizes, rng)
    return lambda one: shaped(space, target, one.heads, one.feed_forward)


def _head_count(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    target = _another(len(layer.heads), space.head_counts, rng)
    return lambda one: shaped(space, one.hidden, resized(one.heads, target), one.feed_forward)


def _one_kind(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    """A head becomes one of another kind."""
    old, new = _two_kinds(layer, space, rng)

    def change(one: Layer) -> Layer:
        if old not in one.heads:
            return one
        heads = list(one.heads)
        heads[heads.index(old)] = new
        return shaped(space, one.hidden, heads, one.feed_forward)

    return change


def _each_of_kind(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    """All heads of a kind become heads of another."""
    old, new = _two_kinds(layer, space, rng)
    return lambda one: shaped(
        space, one.hidden, [new if kind == old else kind for kind in one.heads], one.feed_forward
    )


def _mixture(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    """All heads anew, of one kind or of two."""
    pair = rng.choice(len(space.head_kinds), size=2)
    kinds = [space.head_kinds[at] for at in pair]
    return lambda one: shaped(space, one.hidden, resized(kinds, len(one.heads)), one.feed_forward)


def _width(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    """One width of the stack."""
    at = int(rng.integers(len(layer.feed_forward)))
    target = _another(layer.feed_forward[at], space.feed_forward_widths, rng)

    def change(one: Layer) -> Layer:
        stack = list(one.feed_forward)
        stack[min(at, len(stack) - 1)] = target
        return shaped(space, one.hidden, one.heads, stack)

    return change


def _all_widths(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    """The whole stack as wide."""
    at = int(rng.integers(len(layer.feed_forward)))
    target = _another(layer.feed_forward[at], space.feed_forward_widths, rng)
    return lambda one: shaped(space, one.hidden, one.heads, (target,) * len(one.feed_forward))


def _stack_depth(layer: Layer, space: DesignSpace, rng: Rng) -> Change:
    target = _another(len(layer.feed_forward), space.feed_forward_depths, rng)
    return lambda one: shaped(space, one.hidden, one.heads, restacked(one.feed_forward, target))


CHANGES: tuple[Callable[[Layer, DesignSpace, Rng], Change], ...] = (
    _hidden,
    _head_count,
    _one_kind,
    _each_of_kind,
    _mixture,
    _width,
    _all_widths,
    _stack_depth,
)


def _another(value: int, allowed: Sequence[int], rng: Rng) -> int:
    """Mostly the next smaller or larger; itself where there is no other."""
    others = [one for one in allowed if one != value]
    if not others:
        return value
    if rng.random() < STEP:
        at = allowed.index(value)
        others = [allowed[near] for near in (at - 1, at + 1) if 0 <= near < len(allowed)]
    return others[int(rng.integers(len(others)))]


def _two_kinds(layer: Layer, space: DesignSpace, rng: Rng) -> tuple[str, str]:
    """One that the layer has, and another; the same twice where there is no other."""
    present = sorted(set(layer.heads), key=HEAD_KINDS.index)
    old = present[int(rng.integers(len(present)))]
    others = [kind for kind in space.head_kinds if kind != old] or [old]
    return old, others[int(rng.integers(len(others)))]
