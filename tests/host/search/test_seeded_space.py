"""Designs around a seed: the seed is one of them, and all of them can be cut from it."""

from __future__ import annotations

import dataclasses

import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.search.seeded_space import (
    Design,
    SeededSpace,
    architecture,
    from_params,
    keep_layers,
    to_params,
)
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer import Saliency, plan_shrink
from hypothesis import given, settings
from hypothesis import strategies as st


def seed_of(
    layers: int = 6,
    heads: int = 12,
    feed_forward: int = 1536,
    vocabulary: int = 30522,
    head_size: int = 4,
) -> ModelConfig:
    layer = Layer(heads * head_size, ("sa_sdp",) * heads, head_size, (feed_forward,))
    return ModelConfig(
        architecture=Architecture((layer,) * layers),
        vocab_size=vocabulary,
        positions="absolute",
        max_positions=8,
        type_vocab_size=2,
        pad_id=0,
        layer_norm_eps=1e-12,
        dropout=0.1,
        pooling="mean",
        outputs=2,
        sequence_length=8,
    )


SEEDS = st.builds(
    seed_of,
    layers=st.integers(1, 24),
    heads=st.integers(1, 64),
    feed_forward=st.integers(1, 5000),
    vocabulary=st.integers(50, 60_000),
    head_size=st.sampled_from([4, 32]),
)


def planned(seed: ModelConfig, design: Design) -> None:
    """Raises ArchitectureError when the design cannot be cut from the seed."""
    shape = seed.architecture
    saliency = Saliency(
        [torch.zeros(len(layer.heads)) for layer in shape.layers],
        [[torch.zeros(width) for width in layer.feed_forward] for layer in shape.layers],
    )
    kept = keep_layers(len(shape.layers), design.layers)
    plan_shrink(seed, architecture(seed, design), kept, saliency)


class TestAnySeed:
    @settings(deadline=None)
    @given(SEEDS, st.booleans())
    def test_is_a_point_of_its_own_space(self, seed: ModelConfig, trimmable: bool) -> None:
        space = SeededSpace.around(seed, trimmable=trimmable)
        point = space.seed_point()
        assert architecture(seed, point) == seed.architecture
        assert (point.vocabulary, point.precision) == (None, "fp32")
        assert point in set(space.designs())

    @settings(deadline=None)
    @given(SEEDS, st.booleans())
    def test_choices_are_distinct_and_ascending(self, seed: ModelConfig, trimmable: bool) -> None:
        space = SeededSpace.around(seed, trimmable=trimmable)
        sizes = [size for size in space.vocabulary if size is not None]
        for axis in (space.layers, space.heads, space.feed_forward, sizes):
            assert list(axis) == sorted(set(axis))
            assert all(choice >= 1 for choice in axis)
        assert all(size < seed.vocab_size for size in sizes)
        assert space.vocabulary[-1] is None
        assert trimmable or space.vocabulary == (None,)
        narrower = space.feed_forward[:-1]
        assert all(width >= 64 and width % 16 == 0 for width in narrower)

    @settings(deadline=None)
    @given(SEEDS, st.booleans(), st.sampled_from(["accuracy", "balance", "speed"]))
    def test_starts_inside_with_different_designs(
        self, seed: ModelConfig, trimmable: bool, prefer: str
    ) -> None:
        space = SeededSpace.around(seed, trimmable=trimmable, prefer=prefer)
        starts = space.starting_points(prefer)
        assert 1 <= len(starts) == len(set(starts)) <= 3
        assert set(starts) <= set(space.designs())
        assert space.seed_point() not in starts

    @settings(deadline=None)
    @given(SEEDS, st.booleans())
    def test_the_smallest_are_smallest_in_every_way(
        self, seed: ModelConfig, trimmable: bool
    ) -> None:
        space = SeededSpace.around(seed, trimmable=trimmable)
        assert [point.precision for point in space.smallest_points()] == list(space.precision)
        for point in space.smallest_points():
            for other in space.designs():
                assert point.layers <= other.layers
                assert point.heads <= other.heads
                assert point.feed_forward <= other.feed_forward
                assert (point.vocabulary or 10**9) <= (other.vocabulary or 10**9)

    @settings(deadline=None, max_examples=30)
    @given(SEEDS, st.data())
    def test_every_design_can_be_cut_from_it(self, seed: ModelConfig, data: st.DataObject) -> None:
        designs = list(SeededSpace.around(seed).designs())
        design = data.draw(st.sampled_from(designs))
        planned(seed, design)
        shape = architecture(seed, design)
        assert len(shape.layers) == design.layers
        assert {len(layer.heads) for layer in shape.layers} == {design.heads}
        assert {layer.feed_forward for layer in shape.layers} == {(design.feed_forward,)}

    @settings(deadline=None)
    @given(SEEDS, st.sampled_from(["accuracy", "balance"]))
    def test_size_counts_the_designs(self, seed: ModelConfig, prefer: str) -> None:
        space = SeededSpace.around(seed, prefer=prefer)
        designs = list(space.designs())
        assert len(designs) == len(set(designs)) == space.size
        assert len({design.label() for design in designs}) == space.size
        assert all(from_params(to_params(design)) == design for design in designs)


class TestKnownSeeds:
    def test_minilm(self) -> None:
        space = SeededSpace.around(seed_of())
        assert space == SeededSpace(
            layers=(2, 3, 4, 5, 6),
            heads=(4, 6, 9, 12),
            feed_forward=(384, 576, 768, 1152, 1536),
            vocabulary=(4000, 6000, 8000, 12000, None),
            precision=("int8", "fp32"),
        )
        assert space.size == 1000
        assert space.starting_points() == (
            Design(4, 12, 1536, 8000, "int8"),
            Design(4, 6, 768, 8000, "int8"),
            Design(6, 6, 768, 8000, "int8"),
        )
        assert space.starting_points()[1].label() == "4L 6h ff768 8k int8"
        assert SeededSpace.around(seed_of(), prefer="accuracy") == space  # its table is narrow
        moved = SeededSpace.around(seed_of(head_size=32), prefer="accuracy")
        assert moved == dataclasses.replace(
            space,
            vocabulary=(4000, 6000, 8000, 12000, 16000, 20000, None),
            table=(96, 192, None),
        )
        assert moved.starting_points("accuracy") == (
            Design(6, 6, 768, 20000, "int8", 192),
            Design(6, 9, 768, 20000, "int8", 96),
            Design(6, 12, 576, 20000, "int8", 96),
        )
        assert moved.starting_points("accuracy")[0].label() == "6L 6h ff768 20k e192 int8"

    def test_bert_base(self) -> None:
        space = SeededSpace.around(seed_of(12, 12, 3072))
        assert space.layers == tuple(range(2, 13))
        assert [point.layers for point in space.starting_points()] == [8, 8, 12]

    def test_one_layer(self) -> None:
        space = SeededSpace.around(seed_of(layers=1))
        assert space.layers == (1,)
        assert len(space.starting_points()) == 2  # deep and shallow are the same

    def test_nothing_but_precision_to_choose(self) -> None:
        space = SeededSpace.around(seed_of(1, 1, 32, 100))
        assert space.size == 2
        assert space.starting_points() == (Design(1, 1, 32, None, "int8"),)

    def test_an_odd_width_stays_the_seeds(self) -> None:
        assert SeededSpace.around(seed_of(feed_forward=1000)).feed_forward == (
            256,
            368,
            496,
            752,
            1000,
        )

    def test_a_vocabulary_that_only_one_size_fits(self) -> None:
        space = SeededSpace.around(seed_of(vocabulary=5000))
        assert space.vocabulary == (4000, None)
        assert {point.vocabulary for point in space.starting_points()} == {4000}


MIXED = (
    Layer(8, ("sa_sdp", "sa_sdp", "l_dct", "c_5"), 2, (600, 1200)),
    Layer(8, ("sa_wma", "c_9"), 4, (1200,)),
    Layer(8, ("sa_sdp", "c_13"), 4, (300,)),
)


class TestSeedsWhoseLayersDiffer:
    def test_every_design_is_a_share_of_it(self) -> None:
        seed = dataclasses.replace(seed_of(), architecture=Architecture(MIXED))
        space = SeededSpace.around(seed)
        assert architecture(seed, space.seed_point()) == seed.architecture
        assert (space.heads, space.feed_forward[-1]) == ((1, 2, 3, 4), 1200)
        for design in space.designs():
            planned(seed, design)
        half = architecture(seed, Design(3, 2, 592, None, "fp32"))
        assert [layer.heads for layer in half.layers] == [
            ("sa_sdp", "l_dct"),
            ("sa_wma",),
            ("sa_sdp",),
        ]
        assert [layer.feed_forward for layer in half.layers] == [(296, 592), (592,), (148,)]

    def test_changing_widths_keep_all_layers(self) -> None:
        narrow = Layer(4, ("sa_sdp",), 4, (64,))
        seed = dataclasses.replace(seed_of(), architecture=Architecture((*MIXED, narrow)))
        space = SeededSpace.around(seed)
        assert space.layers == (4,)
        for design in space.designs():
            planned(seed, design)


class TestKeepLayers:
    @given(st.integers(1, 48), st.data())
    def test_first_last_and_evenly_between(self, layers: int, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, layers))
        kept = keep_layers(layers, count)
        assert len(kept) == count
        assert kept[0] == 0
        assert count == 1 or kept[-1] == layers - 1
        gaps = [b - a for a, b in zip(kept, kept[1:])]
        assert all(gap >= 1 for gap in gaps)
        assert not gaps or max(gaps) - min(gaps) <= 1

    def test_four_of_six(self) -> None:
        assert keep_layers(6, 4) == (0, 1, 3, 5)


class TestDistance:
    @given(st.data())
    def test_is_one(self, data: st.DataObject) -> None:
        space = SeededSpace.around(seed_of())
        designs = list(space.designs())
        a, b, c = (data.draw(st.sampled_from(designs)) for _ in range(3))
        assert (space.distance(a, b) == 0) is (a == b)
        assert space.distance(a, b) == space.distance(b, a)
        assert space.distance(a, c) <= space.distance(a, b) + space.distance(b, c)

    def test_counts_steps(self) -> None:
        space = SeededSpace.around(seed_of())
        there = Design(6, 9, 768, None, "int8")
        assert space.distance(space.seed_point(), there) == 0 + 1 + 2 + 0 + 1
