"""Samples: on the lattice, the same for the same seed, and spread over the classes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import METHODS, is_deep, is_wide, sample
from edgetran_protos.errors import UsageError

SPACE = DesignSpace.flexibert2()
TINY = DesignSpace(
    name="tiny",
    layer_counts=(1,),
    hidden_sizes=(16,),
    head_counts=(2,),
    head_kinds=("sa_sdp",),
    feed_forward_widths=(32,),
    feed_forward_depths=(1,),
)


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_on_the_lattice_and_seeded(self, method: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = sample(SPACE, 21, np.random.default_rng(5), method)
        assert len(drawn) == 21
        for architecture in drawn:
            SPACE.validate(architecture)
        assert drawn == sample(SPACE, 21, np.random.default_rng(5), method)
        assert drawn != sample(SPACE, 21, np.random.default_rng(6), method)

    def test_a_space_of_one(self, method: str) -> None:
        drawn = sample(TINY, 3, np.random.default_rng(0), method)
        assert len(drawn) == 3
        assert len(set(drawn)) == 1

    def test_none(self, method: str) -> None:
        assert sample(SPACE, 0, np.random.default_rng(0), method) == []


@pytest.mark.parametrize("method", ["hierarchical", "sobol", "lhs"])
def test_all_four_classes_come_up(method: str) -> None:
    drawn = sample(SPACE, 64, np.random.default_rng(1), method)
    for deep in (False, True):
        for wide in (False, True):
            found = [one for one in drawn if (is_deep(one), is_wide(one)) == (deep, wide)]
            assert len(found) >= 8


def test_hierarchical_layers_are_not_all_large() -> None:
    """Uniform indices give 12 heads in 85 % of layers; here every count is common."""
    drawn = sample(SPACE, 300, np.random.default_rng(2))
    counts = [len(layer.heads) for one in drawn for layer in one.layers]
    assert all(counts.count(heads) > 0.1 * len(counts) for heads in SPACE.head_counts)
    kinds = [len(set(layer.heads)) for one in drawn for layer in one.layers]
    assert kinds.count(1) > 0.1 * len(kinds)  # uniform layers, which mixed draws never give
    depths = [len(layer.feed_forward) for one in drawn for layer in one.layers]
    assert all(depths.count(depth) > 0.2 * len(depths) for depth in (1, 2, 3))


def test_uniform_indices_have_the_published_shares() -> None:
    drawn = sample(SPACE, 1000, np.random.default_rng(3), "uniform")
    counts = [len(layer.heads) for one in drawn for layer in one.layers]
    assert counts.count(12) / len(counts) == pytest.approx(0.851, abs=0.02)
    assert counts.count(8) / len(counts) == pytest.approx(0.138, abs=0.02)


def test_bad_requests() -> None:
    with pytest.raises(UsageError, match="no sampling method 'grid'") as caught:
        sample(SPACE, 4, np.random.default_rng(0), "grid")
    assert "hierarchical" in caught.value.hint
    with pytest.raises(UsageError, match="cannot draw -1"):
        sample(SPACE, -1, np.random.default_rng(0))
