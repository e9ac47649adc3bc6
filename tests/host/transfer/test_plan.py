"""Plans keep the most salient parts, in the parent's order, and refuse what cannot be cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer import Saliency, plan_shrink
from edgetran_protos.errors import ArchitectureError
from hypothesis import given
from hypothesis import strategies as st

Models = Callable[..., TextModel]

LAYER = Layer(
    hidden=8, heads=("sa_sdp", "sa_sdp", "sa_sdp", "c_5", "c_5"), head_size=2, feed_forward=(6, 4)
)
PARENT = Architecture((LAYER, LAYER, LAYER))


def saliency_of(architecture: Architecture, seed: int = 0) -> Saliency:
    rng = np.random.default_rng(seed)

    def scores(count: int) -> torch.Tensor:
        return torch.tensor(rng.random(count))

    return Saliency(
        [scores(len(layer.heads)) for layer in architecture.layers],
        [[scores(width) for width in layer.feed_forward] for layer in architecture.layers],
    )


@pytest.fixture(scope="module")
def parent(model_of: Models) -> ModelConfig:
    return model_of(PARENT).config


def shape(**changes: object) -> Architecture:
    """A child of one layer."""
    return Architecture((dataclasses.replace(LAYER, **changes),))  # type: ignore[arg-type]


class TestWhatIsKept:
    def test_the_most_salient_in_their_own_order(self, parent: ModelConfig) -> None:
        saliency = saliency_of(PARENT)
        saliency.heads[1] = torch.tensor([0.2, 0.9, 0.8, 0.1, 0.3])
        saliency.feed_forward[1] = [
            torch.tensor([0.0, 0.5, 0.1, 0.4, 0.3, 0.2]),
            torch.tensor([0.9, 0.1, 0.2, 0.8]),
        ]
        child = shape(heads=("sa_sdp", "sa_sdp", "c_5"), feed_forward=(3, 2))
        plan = plan_shrink(parent, child, [1], saliency)
        assert plan.layers == (1,)
        assert plan.heads == ((1, 2, 4),)
        assert plan.feed_forward == (((1, 3, 4), (0, 3)),)
        assert plan.tokens is None

    def test_the_first_win_ties(self, parent: ModelConfig) -> None:
        saliency = saliency_of(PARENT)
        saliency.heads[0] = torch.zeros(5)
        plan = plan_shrink(parent, shape(heads=("sa_sdp", "c_5")), [0], saliency)
        assert plan.heads == ((0, 3),)

    @given(
        st.integers(0, 10_000),
        st.lists(st.integers(0, 2), min_size=1, unique=True),
        st.integers(0, 3),
        st.integers(0, 2),
        st.integers(1, 6),
        st.integers(1, 4),
    )
    def test_against_sorting_everything(
        self,
        parent: ModelConfig,
        seed: int,
        layers: list[int],
        dots: int,
        taps: int,
        first: int,
        second: int,
    ) -> None:
        if not dots + taps:
            return
        layers, saliency = sorted(layers), saliency_of(PARENT, seed)
        heads = ("sa_sdp",) * dots + ("c_5",) * taps
        layer = dataclasses.replace(LAYER, heads=heads, feed_forward=(first, second))
        plan = plan_shrink(parent, Architecture((layer,) * len(layers)), layers, saliency)

        def best(scores: torch.Tensor, among: range, count: int) -> list[int]:
            return sorted(sorted(among, key=lambda i: -float(scores[i]))[:count])

        for at, source in enumerate(layers):
            scores = saliency.heads[source]
            wanted = best(scores, range(3), dots) + best(scores, range(3, 5), taps)
            assert list(plan.heads[at]) == wanted
            for kept, width, stack in zip(
                plan.feed_forward[at], (first, second), saliency.feed_forward[source], strict=True
            ):
                assert list(kept) == best(stack, range(len(stack)), width)


class TestRefused:
    @staticmethod
    def refused(message: str, parent: ModelConfig, *plan: object, **more: object) -> None:
        with pytest.raises(ArchitectureError, match=message) as caught:
            plan_shrink(parent, *plan, **more)  # type: ignore[arg-type]
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"hidden": 10}, "layer 0 from layer 2: hidden size 10 differs from 8"),
            ({"head_size": 3}, "head size 3 differs from 2"),
            ({"heads": ()}, "at least one head"),
            ({"heads": ("sa_sdp",) * 4}, "4 sa_sdp heads, only 3"),
            ({"heads": ("sa_wma",)}, "1 sa_wma heads, only 0"),
            ({"feed_forward": (6,)}, "1 stacked widths, not 2"),
            ({"feed_forward": ()}, "0 stacked widths, not 2"),
            ({"feed_forward": (6, 0)}, "one neuron"),
            ({"feed_forward": (6, 5)}, "exceed"),
        ],
    )
    def test_what_is_no_part_of_the_parent(
        self, parent: ModelConfig, changes: dict[str, object], message: str
    ) -> None:
        self.refused(message, parent, shape(**changes), [2], saliency_of(PARENT))

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ([0], "1 layers are kept, the child has 2"),
            ([0, 1, 2], "3 layers are kept"),
            ([1, 0], "ascend"),
            ([1, 1], "ascend"),
            ([1, 3], "within 0 to 2"),
            ([-1, 1], "within 0 to 2"),
        ],
    )
    def test_layers(self, parent: ModelConfig, layers: list[int], message: str) -> None:
        self.refused(message, parent, Architecture((LAYER, LAYER)), layers, saliency_of(PARENT))

    def test_no_layer_at_all(self, parent: ModelConfig) -> None:
        self.refused("0 layers are kept", parent, Architecture(()), [], saliency_of(PARENT))

    @pytest.mark.parametrize(
        ("tokens", "message"),
        [
            ([], "below 23"),
            ([1, 23], "below 23"),
            ([1, -1], "below 23"),
            ([1, 4, 4], "twice"),
            ([0, 2, 3], "padding token 1"),
        ],
    )
    def test_tokens(self, parent: ModelConfig, tokens: list[int], message: str) -> None:
        self.refused(message, parent, PARENT, [0, 1, 2], saliency_of(PARENT), tokens=tokens)

    def test_the_saliency_of_another_model(self, parent: ModelConfig) -> None:
        other = Architecture((LAYER, LAYER))
        self.refused("saliency", parent, other, [0, 1], saliency_of(other))
        wider = Architecture((LAYER, LAYER, dataclasses.replace(LAYER, feed_forward=(6, 5))))
        self.refused("saliency", parent, PARENT, [0, 1, 2], saliency_of(wider))
