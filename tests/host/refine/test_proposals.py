"""Proposals keep to the bounds, prune what is least salient, and grow by the drawn edit alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from edgetran_host.refine.proposals import (
    DROP_LAYER,
    GROW_FEED_FORWARD,
    GROW_HEADS,
    GROWING,
    LEAST_WIDTH,
    MODES,
    MULTIPLE,
    PRUNE_FEED_FORWARD,
    PRUNE_HEADS,
    PRUNE_WIDTH,
    Proposal,
    Sizes,
    propose,
)
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer.saliency import Saliency
from edgetran_protos.errors import ArchitectureError
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = Sizes(children=3, heads=2, neurons=48, grown_neurons=32, channels=16)


def layer(hidden: int, heads: int, widths: tuple[int, ...]) -> Layer:
    return Layer(hidden, ("sa_sdp",) * heads, 16, widths)


LAYERS = st.builds(
    layer,
    st.just(96),
    st.integers(1, 4),
    st.lists(st.integers(4, 12).map(lambda n: 16 * n + n % 3), min_size=1, max_size=2).map(tuple),
)
ARCHITECTURES = st.lists(LAYERS, min_size=1, max_size=3).map(lambda all: Architecture(tuple(all)))


def saliency_of(architecture: Architecture, seed: int) -> Saliency:
    rng = torch.Generator().manual_seed(seed)

    def scores(count: int) -> torch.Tensor:
        return torch.rand(count, generator=rng, dtype=torch.float64)

    layers = architecture.layers
    return Saliency(
        [scores(len(one.heads)) for one in layers],
        [[scores(width) for width in one.feed_forward] for one in layers],
        [scores(one.hidden) for one in layers],
    )


def proposed(mode: str, architecture: Architecture, seed: int = 0) -> list[Proposal]:
    saliency = saliency_of(architecture, seed)
    return propose(mode, architecture, saliency, SIZES, np.random.default_rng(seed))


def weight(architecture: Architecture) -> int:
    return sum(one.attention_width + sum(one.feed_forward) for one in architecture.layers)


@settings(deadline=None)
@given(ARCHITECTURES, st.sampled_from(sorted(MODES)), st.integers(0, 99))
def test_proposals_are_different_children_within_bounds(
    parent: Architecture, mode: str, seed: int
) -> None:
    found = proposed(mode, parent, seed)
    assert len({one.edit for one in found}) == len(found) <= SIZES.children
    for one in found:
        child = one.edit.architecture
        assert one.mode == mode
        assert one.what
        assert (weight(child) > weight(parent)) == (mode in GROWING)
        for at, shape in enumerate(child.layers):
            assert shape.heads
            for stack, width in enumerate(shape.feed_forward):
                old = one.edit.weights.layers[at]
                assert old is not None
                if width != parent.layers[old].feed_forward[stack]:
                    assert width % MULTIPLE == 0
                    assert width >= LEAST_WIDTH


@given(ARCHITECTURES, st.integers(0, 99))
def test_a_smallest_model_can_still_grow(parent: Architecture, seed: int) -> None:
    assert proposed(GROW_HEADS, parent, seed)
    assert proposed(GROW_FEED_FORWARD, parent, seed)


@given(ARCHITECTURES, st.integers(0, 99))
def test_heads_that_go_are_the_least_salient(parent: Architecture, seed: int) -> None:
    """Against all choices of as many that leave each layer a head."""
    found = proposed(PRUNE_HEADS, parent, seed)
    spare = sum(len(one.heads) - 1 for one in parent.layers)
    assert len(found) == min(1, spare)
    if not found:
        return
    scores = saliency_of(parent, seed).heads
    every = [(at, head) for at, one in enumerate(scores) for head in range(len(one))]
    kept = found[0].edit.weights.heads
    gone = {(at, head) for at, head in every if head not in kept[at]}
    assert len(gone) == min(SIZES.heads, spare)
    allowed = [
        choice
        for choice in itertools.combinations(every, len(gone))
        if all(sum(at == one for at, _ in choice) < len(scores[one]) for one in range(len(scores)))
    ]
    least = min(sum(float(scores[at][head]) for at, head in choice) for choice in allowed)
    assert sum(float(scores[at][head]) for at, head in gone) == pytest.approx(least)


def test_neurons_that_go_are_the_least_salient() -> None:
    parent = Architecture((layer(96, 2, (96,)), layer(96, 2, (96,))))
    saliency = saliency_of(parent, 0)
    saliency.feed_forward[0][0][:40] = 0.0
    (found,) = propose(PRUNE_FEED_FORWARD, parent, saliency, SIZES, np.random.default_rng(0))
    widths = [one.feed_forward[0] for one in found.edit.architecture.layers]
    assert widths == [64, 80]
    assert set(range(32)).isdisjoint(found.edit.weights.neurons[0][0])


def test_the_least_salient_layer_comes_first() -> None:
    parent = Architecture((layer(96, 2, (96,)),) * 3)
    saliency = saliency_of(parent, 0)
    saliency.heads[1].zero_()
    saliency.feed_forward[1][0].zero_()
    found = propose(DROP_LAYER, parent, saliency, SIZES, np.random.default_rng(0))
    assert found[0].edit.weights.layers == (0, 2)
    assert len(found) == 3


def test_unequal_widths_keep_their_layers() -> None:
    parent = Architecture((layer(96, 2, (96,)), layer(128, 2, (96,))))
    assert not proposed(DROP_LAYER, parent)
    assert not proposed(PRUNE_WIDTH, parent)


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ArchitectureError, match="'shrink' is no mode"):
        proposed("shrink", Architecture((layer(96, 2, (96,)),)))
