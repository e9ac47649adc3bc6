"""The fast price of a training against the slow one: weights that are really taken over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetran_host.cosearch.inheriting import Inheriting, align, shares, training_costs
from edgetran_host.cosearch.moves import change_depth, step
from edgetran_host.cosearch.outcome import Trial
from edgetran_host.cosearch.pair import Pair
from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import HEAD_KINDS, Architecture
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.transfer import WeightMap, measure_share, nearest_map
from edgetran_host.transfer.planning import first
from hypothesis import given, settings
from hypothesis import strategies as st

from .toy_world import PLACES, PRODUCT, try_pairs

SMALL = DesignSpace(
    name="small",
    layer_counts=(1, 2, 3, 4),
    hidden_sizes=(32, 64, 96),
    head_counts=(2, 4),
    head_kinds=HEAD_KINDS,
    feed_forward_widths=(16, 32, 96),
    feed_forward_depths=(1, 2, 3),
)
FEW_TAPS = 0.02  # unlike convolutions share more taps than are counted; 0.009 of 1,330 pairs
MATRICES = ("attention", "head_extras", "feed_forward")
seeds = st.integers(0, 2**32 - 1)


def one_width(space: DesignSpace, rng: np.random.Generator) -> Architecture:
    """All layers as wide: where width changes inside, some maps have no place for it."""
    hidden = int(rng.choice(space.hidden_sizes))
    found = dataclasses.replace(space, hidden_sizes=(hidden,))
    return sample_one(found, rng)


def sample_one(space: DesignSpace, rng: np.random.Generator) -> Architecture:
    return sample(space, 1, rng)[0]


def config(architecture: Architecture) -> ModelConfig:
    return ModelConfig(
        architecture=architecture,
        vocab_size=5,
        positions="relative",
        max_positions=4,
        type_vocab_size=1,
        pad_id=1,
        layer_norm_eps=1e-9,
        dropout=0.0,
        pooling="cls",
        outputs=2,
        sequence_length=4,
    )


def once(parent: Architecture, child: Architecture) -> WeightMap:
    """The nearest map, without copies of hidden channels."""
    weights = nearest_map(parent, child, layers=align(parent, child))
    have = parent.layers[0].hidden
    hidden = tuple(first(have, layer.hidden) for layer in child.layers)
    return dataclasses.replace(weights, hidden=hidden)


def taken_over(parent: Architecture, child: Architecture) -> tuple[int, int]:
    """Weights of the child's matrices that come from the parent; all of them."""
    found = measure_share(config(parent), once(parent, child), config(child))
    count = [sum(part.get(kind, 0) for kind in MATRICES) for part in (found.inherited, found.total)]
    return count[0], count[1]


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_share_is_what_a_transfer_takes_over(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent, child = one_width(SMALL, rng), one_width(SMALL, rng)
    inherited, ours = taken_over(parent, child)
    _, theirs = taken_over(child, parent)
    (found,) = shares([child], [parent])[0]
    true = inherited / max(ours, theirs)
    assert true - FEW_TAPS <= found <= true + 1e-6  # never too much


@given(seeds)
def test_share_is_whole_for_the_design_itself_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = sample_one(SMALL, rng), sample_one(SMALL, rng)
    both = shares([one, other], [one, other])
    assert both.diagonal() == pytest.approx([1, 1])
    assert (both[0, 1] < 1) == (one != other)
    assert ((both >= 0) & (both <= 1 + 1e-6)).all()


@given(seeds)
def test_added_or_dropped_layers_leave_the_others_inherited(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = sample_one(SMALL, rng)
    child = change_depth(parent, SMALL, rng)
    kept = [source for source in align(parent, child) if source is not None]
    assert len(kept) == min(len(parent.layers), len(child.layers))
    assert kept == sorted(set(kept))


@settings(max_examples=15, deadline=None)
@given(seeds, st.booleans(), st.integers(1, 60))
def test_the_nearest_of_many_parents_are_found(seed: int, tied: bool, count: int) -> None:
    """Against all of them, one by one; further ones are not told too near."""
    rng = np.random.default_rng(seed)
    designs = [pair.architecture for pair in PRODUCT.sample(rng, 60, tied=tied)]
    children = [
        step(Pair(designs[int(rng.integers(60))], PLACES[0]), PRODUCT, rng).architecture,
        *(pair.architecture for pair in PRODUCT.sample(rng, 2, tied=False)),
    ]
    each = np.hstack([shares(children, [design]) for design in designs])
    found = shares(children, designs, count)
    assert (found <= each * (1 + 1e-9)).all()
    nearest = -np.sort(-each, axis=1)[:, :count]
    assert -np.sort(-found, axis=1)[:, :count] == pytest.approx(nearest)


def test_a_trained_design_costs_nothing_on_another_board() -> None:
    pair = PRODUCT.sample(np.random.default_rng(3), 1, tied=True)[0]
    trials = try_pairs([pair])
    elsewhere = [Pair(pair.architecture, place) for place in PLACES]
    assert training_costs(elsewhere, []).tolist() == [1, 1, 1]
    assert training_costs(elsewhere, trials).tolist() == [0, 0, 0]


def test_what_was_never_trained_hands_nothing_on() -> None:
    pair = PRODUCT.sample(np.random.default_rng(3), 1, tied=True)[0]
    untrained = dataclasses.replace(try_pairs([pair])[0].outcome, score=None)
    assert training_costs([pair], [Trial(pair, untrained)]).tolist() == [1]


def test_costs_fall_from_a_whole_training_to_the_floor() -> None:
    rng = np.random.default_rng(5)
    pairs = PRODUCT.sample(rng, 30, tied=False)
    trials = try_pairs(pairs[:10])
    rule = Inheriting(floor=0.2, gamma=2.0)
    costs = rule(pairs[10:], trials)
    share = shares(
        [pair.architecture for pair in pairs[10:]], [t.pair.architecture for t in trials]
    )
    assert costs == pytest.approx(0.2 + 0.8 * (1 - share.max(axis=1)) ** 2)
    assert rule(pairs[10:], []) == pytest.approx(np.ones(20))


def test_a_seed_is_inherited_from_but_not_for_nothing() -> None:
    pair = PRODUCT.sample(np.random.default_rng(3), 1, tied=True)[0]
    assert Inheriting(seed=pair.architecture)([pair], []) == pytest.approx([0.05])


def test_no_pairs_cost_nothing() -> None:
    assert training_costs([], []).shape == (0,)
