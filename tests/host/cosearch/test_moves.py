"""Moves: they stay in the space, move, and follow from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from edgetran_host.cosearch.moves import (
    change_layers,
    cross,
    neighbours,
    repair,
    tie,
)
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_protos.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st

SPACE = ProductSpace(DesignSpace.flexibert2(), (Place("rpi4:cpu"), Place("a100:gpu", "torch")))
ONE = ProductSpace(
    DesignSpace("one", (2,), (16,), (2,), ("l_dft",), (32,), (1,)), (Place("rpi4:cpu"),)
)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 5000)
layers = st.builds(
    Layer,
    sizes,
    st.lists(st.sampled_from(DesignSpace.flexibert2().head_kinds), min_size=1, max_size=20).map(
        tuple
    ),
    sizes,
    st.lists(sizes, min_size=1, max_size=5).map(tuple),
)


def drawn(seed: int, tied: bool = False, count: int = 1) -> list[Pair]:
    return SPACE.sample(np.random.default_rng(seed), count, tied)


@settings(max_examples=60)
@given(seeds, st.booleans())
def test_neighbours_are_other_pairs_of_the_space(seed: int, tied: bool) -> None:
    (pair,) = drawn(seed, tied)
    found = neighbours(pair, SPACE, np.random.default_rng(seed), 8)
    assert len(set(found)) == 8
    assert pair not in found
    assert all(map(SPACE.contains, found))
    assert found == neighbours(pair, SPACE, np.random.default_rng(seed), 8)


@settings(max_examples=60)
@given(seeds)
def test_a_change_of_all_layers_keeps_ties(seed: int) -> None:
    (pair,) = drawn(seed, tied=True)
    changed = change_layers(pair.architecture, SPACE.space, np.random.default_rng(seed), "all")
    assert tie(changed) == changed


@settings(max_examples=60)
@given(seeds)
def test_a_change_of_one_layer_leaves_the_others(seed: int) -> None:
    (pair,) = drawn(seed)
    before = pair.architecture
    after = change_layers(before, SPACE.space, np.random.default_rng(seed), "one")
    assert sum(one != two for one, two in zip(before.layers, after.layers, strict=True)) <= 1


@settings(max_examples=60)
@given(seeds)
def test_a_child_has_its_parents_layers(seed: int) -> None:
    one, other = drawn(seed, count=2)
    child = cross(one, other, np.random.default_rng(seed))
    assert SPACE.contains(child)
    assert len(child.architecture.layers) == len(one.architecture.layers)
    assert set(child.architecture.layers) <= {*one.architecture.layers, *other.architecture.layers}
    assert child.place in (one.place, other.place)


@given(st.lists(layers, min_size=1, max_size=20))
def test_repair_brings_any_architecture_into_the_space(found: list[Layer]) -> None:
    repaired = repair(Architecture(tuple(found)), SPACE.space)
    SPACE.space.validate(repaired)
    assert repair(repaired, SPACE.space) == repaired


@settings(max_examples=30)
@given(seeds)
def test_repair_leaves_what_is_in_the_space(seed: int) -> None:
    (pair,) = drawn(seed)
    assert repair(pair.architecture, SPACE.space) == pair.architecture


def test_every_value_of_the_space_can_be_reached() -> None:
    rng = np.random.default_rng(3)
    pairs = SPACE.sample(rng, 4, tied=True)
    for _ in range(600):
        pairs += neighbours(pairs[-1], SPACE, rng, 1)
    seen = [layer for pair in pairs for layer in pair.architecture.layers]
    space = SPACE.space
    assert {len(pair.architecture.layers) for pair in pairs} == set(space.layer_counts)
    assert {layer.hidden for layer in seen} == set(space.hidden_sizes)
    assert {len(layer.heads) for layer in seen} == set(space.head_counts)
    assert {kind for layer in seen for kind in layer.heads} == set(space.head_kinds)
    assert {width for layer in seen for width in layer.feed_forward} == set(
        space.feed_forward_widths
    )
    assert {len(layer.feed_forward) for layer in seen} == set(space.feed_forward_depths)
    assert {pair.place for pair in pairs} == set(SPACE.places)


def test_a_space_of_one_pair_has_no_neighbours() -> None:
    rng = np.random.default_rng(0)
    (pair,) = ONE.sample(rng, 1, tied=False)
    assert neighbours(pair, ONE, rng, 3) == []


def test_tie_takes_the_commonest_layer() -> None:
    (pair,) = ONE.sample(np.random.default_rng(0), 1, tied=False)
    (common, _), rare = pair.architecture.layers, Layer(32, ("l_dft",), 32, (64,))
    assert tie(Architecture((rare, common, common))) == Architecture((common,) * 3)


def test_ids_tell_pairs_apart() -> None:
    one, other = drawn(0, count=2)
    ids = {Pair(a.architecture, place).id for a in (one, other) for place in SPACE.places}
    assert len(ids) == 4
    assert one.id == Pair(one.architecture, one.place).id
    assert Place("a100:gpu", "torch").id == "a100:gpu/torch"


@pytest.mark.parametrize("places", [(), (Place("rpi4:cpu"), Place("rpi4:cpu"))])
def test_places_must_differ(places: tuple[Place, ...]) -> None:
    with pytest.raises(UsageError, match="all different"):
        ProductSpace(SPACE.space, places)
