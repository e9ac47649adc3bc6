"""The space around a seed: every way to a pair stays where the seed's weights fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetran_host.cosearch.moves import cross, repair, step
from edgetran_host.cosearch.optuna_params import from_params, to_params
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.seed_space import space_around
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.cosearch.starting import starting_pairs
from edgetran_host.cosearch.stored import product_from_json, product_to_json
from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.embedding import decode, embed
from edgetran_protos.errors import ArchitectureError

LAYER = Layer(hidden=384, heads=("sa_sdp",) * 12, head_size=32, feed_forward=(1536,))
SEED = ModelConfig(
    architecture=Architecture((LAYER,) * 6),
    vocab_size=30522,
    positions="absolute",
    max_positions=512,
    type_vocab_size=2,
    pad_id=0,
    layer_norm_eps=1e-12,
    dropout=0.1,
    pooling="mean",
    outputs=2,
    sequence_length=64,
)
PRODUCT = ProductSpace(
    space_around(SEED, "minilm", ("l_dct",)), (Place("rpi4:cpu"), Place("jetson-nano:cpu"))
)


def test_the_seed_is_its_largest_design() -> None:
    space = PRODUCT.space
    space.validate(SEED.architecture)
    assert SEED.architecture == Architecture(
        (dataclasses.replace(LAYER, feed_forward=space.feed_forward_widths[-1:]),)
        * space.layer_counts[-1]
    )


def test_whatever_a_search_does_stays_inside() -> None:
    rng = np.random.default_rng(0)
    pairs = [*starting_pairs(PRODUCT, 10, 0), *PRODUCT.sample(rng, 20, tied=False)]
    for pair in pairs:
        for _ in range(10):
            pair = step(pair, PRODUCT, rng)
        pair = cross(pair, pairs[0], rng)
        assert PRODUCT.contains(pair)
        assert {layer.head_size for layer in pair.architecture.layers} == {32}
        assert from_params(to_params(pair, PRODUCT), PRODUCT) == pair
        assert decode(embed(pair.architecture, PRODUCT.space), PRODUCT.space) == pair.architecture


def test_a_foreign_design_is_repaired_into_it() -> None:
    foreign = Architecture((Layer(512, ("c_5",) * 8, 64, (2048, 2048)),) * 12)
    PRODUCT.space.validate(repair(foreign, PRODUCT.space))


def test_a_head_of_another_size_is_refused() -> None:
    wide = dataclasses.replace(LAYER, heads=("sa_sdp",) * 6, head_size=64)
    with pytest.raises(ArchitectureError, match="head size is 64, but in minilm it is 32"):
        PRODUCT.space.validate(Architecture((wide,) * 6))


def test_it_is_kept_as_json() -> None:
    assert product_from_json(product_to_json(PRODUCT)) == PRODUCT


def test_pairs_of_an_unknown_kind() -> None:
    with pytest.raises(ArchitectureError, match="sa_new is no kind of head"):
        space_around(SEED, "minilm", ("sa_new",))


def test_pair_ids_tell_head_sizes_apart() -> None:
    other = Architecture((dataclasses.replace(LAYER, head_size=16),) * 6)
    place = PRODUCT.places[0]
    assert Pair(other, place).id != Pair(SEED.architecture, place).id


def test_a_seed_of_mixed_heads_is_in_its_space() -> None:
    mixed = dataclasses.replace(LAYER, heads=("sa_sdp",) * 3 + ("c_9",) * 3, feed_forward=(768,))
    stacked = dataclasses.replace(mixed, heads=("l_dft",) * 4, feed_forward=(512, 1024))
    seed = dataclasses.replace(SEED, architecture=Architecture((mixed, stacked, mixed)))
    space = space_around(seed, "mixed")
    space.validate(seed.architecture)
    assert space.head_kinds == ("sa_sdp", "l_dft", "c_9")
    assert space.feed_forward_depths == (1, 2)
    wide = dataclasses.replace(mixed, head_size=64)
    with pytest.raises(ArchitectureError, match="differ in hidden or head size"):
        space_around(dataclasses.replace(seed, architecture=Architecture((mixed, wide))), "mixed")
