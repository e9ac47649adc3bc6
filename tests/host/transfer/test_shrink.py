"""A child computes what its parent computes with the dropped parts silenced."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.transfer import Saliency, ShrinkPlan, measure_saliency, plan_shrink, shrink
from edgetran_protos.errors import ArchitectureError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Inputs = tuple[Tensor, Tensor, Tensor]
Models = Callable[..., TextModel]
MakeInputs = Callable[..., Inputs]

SPACE = DesignSpace(
    name="small",
    layer_counts=(1, 2, 3, 4),
    hidden_sizes=(8, 10, 12),
    head_counts=(1, 2, 4, 7),
    head_kinds=HEAD_KINDS,
    feed_forward_widths=(3, 5, 6),
    feed_forward_depths=(1, 2, 3),
)
EVERY_KIND = Layer(
    hidden=12, heads=tuple(k for k in HEAD_KINDS for _ in range(2)), head_size=3, feed_forward=(6,)
)
POSITIONS = st.sampled_from(["relative", "absolute"])
POOLINGS = st.sampled_from(["cls", "mean"])
SEEDS = st.integers(0, 2**32 - 1)


def random_saliency(architecture: Architecture, rng: np.random.Generator) -> Saliency:
    return Saliency(
        [torch.tensor(rng.random(len(layer.heads))) for layer in architecture.layers],
        [
            [torch.tensor(rng.random(width)) for width in layer.feed_forward]
            for layer in architecture.layers
        ],
    )


def random_part(layer: Layer, rng: np.random.Generator) -> Layer:
    """Some of its heads, some of its neurons."""
    count = int(rng.integers(1, len(layer.heads) + 1))
    kept = np.sort(rng.choice(len(layer.heads), count, replace=False))
    widths = tuple(int(rng.integers(1, width + 1)) for width in layer.feed_forward)
    heads = tuple(layer.heads[head] for head in kept)
    return dataclasses.replace(layer, heads=heads, feed_forward=widths)


def config_of(parent: ModelConfig, plan: ShrinkPlan, shape: Architecture) -> ModelConfig:
    if plan.tokens is None:
        return dataclasses.replace(parent, architecture=shape)
    return dataclasses.replace(
        parent,
        architecture=shape,
        vocab_size=len(plan.tokens),
        pad_id=plan.tokens.index(parent.pad_id),
    )


@torch.no_grad()
def silenced(parent: TextModel, plan: ShrinkPlan) -> TextModel:
    """The parent with nothing removed: what the plan drops is only not read any more."""
    model = copy.deepcopy(parent)
    for at, source in enumerate(plan.layers):
        block, layer = model.blocks[source], model.config.architecture.layers[source]
        for head in set(range(len(layer.heads))) - set(plan.heads[at]):
            block.heads_out.weight[:, head * layer.head_size : (head + 1) * layer.head_size] = 0
        readers = [*[*block.stack][1:], block.stack_out]
        for reader, kept in zip(readers, plan.feed_forward[at], strict=True):
            for neuron in set(range(reader.in_features)) - set(kept):
                reader.weight[:, neuron] = 0
    return model


@torch.no_grad()
def run(model: TextModel, inputs: Inputs) -> Tensor:
    found: Tensor = model(*inputs)
    return found


@torch.no_grad()
def run_layers(model: TextModel, layers: Sequence[int], inputs: Inputs) -> Tensor:
    """Only these layers, but every change of width that lies between them."""
    ids, mask, types = inputs
    x = model.embedding(ids, types)
    masked = ((1.0 - mask.to(x.dtype)) * -10000.0)[:, None, None, :]
    for index, block in enumerate(model.blocks):
        if index in layers:
            x = block(x, masked)
        elif block.project is not None and layers[0] < index < layers[-1]:
            x = block.project(x)
    return model.classify(x, mask)


class TestKeepingEverything:
    @settings(max_examples=25, deadline=None)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_is_the_parent_itself(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        rng = np.random.default_rng(seed)
        whole = sample(SPACE, 1, rng)[0]
        parent = model_of(whole, positions, pooling).float()
        saliency = random_saliency(whole, rng)
        plan = plan_shrink(parent.config, whole, range(len(whole.layers)), saliency)
        child = shrink(parent, plan, parent.config)
        assert torch.equal(run(child, inputs()), run(parent, inputs()))
        assert child.state_dict().keys() == parent.state_dict().keys()

    def test_with_its_weights_copied(self, model_of: Models, inputs: MakeInputs) -> None:
        whole = Architecture((EVERY_KIND,))
        parent = model_of(whole).float()
        before = {name: x.clone() for name, x in parent.state_dict().items()}
        saliency = random_saliency(whole, np.random.default_rng(0))
        child = shrink(parent, plan_shrink(parent.config, whole, [0], saliency), parent.config)
        assert not child.training
        with torch.no_grad():
            for parameter in child.parameters():
                parameter.zero_()
        assert all(torch.equal(x, before[name]) for name, x in parent.state_dict().items())


class TestDroppingUnits:
    @settings(max_examples=40, deadline=None)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_is_to_silence_them(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        rng = np.random.default_rng(seed)
        whole = sample(SPACE, 1, rng)[0]
        parent = model_of(whole, positions, pooling)
        shape = Architecture(tuple(random_part(layer, rng) for layer in whole.layers))
        saliency = random_saliency(whole, rng)
        plan = plan_shrink(parent.config, shape, range(len(whole.layers)), saliency)
        child = shrink(parent, plan, config_of(parent.config, plan, shape))
        assert child.config.architecture == shape
        torch.testing.assert_close(
            run(child, inputs()).double(),
            run(silenced(parent, plan), inputs()),
            rtol=1e-3,
            atol=1e-4,
        )

    def test_of_no_saliency_changes_nothing(self, model_of: Models, inputs: MakeInputs) -> None:
        """Two heads and three neurons are made useless; saliency finds and drops these."""
        layer = dataclasses.replace(EVERY_KIND, feed_forward=(6, 5))
        whole = Architecture((layer, layer))
        parent = model_of(whole)
        with torch.no_grad():
            for block in parent.blocks:
                for head in (3, 8):  # an sa_wma and a c_5
                    block.heads_out.weight[:, 3 * head : 3 * head + 3] = 0
                block.stack[1].weight[:, [0, 4]] = 0
                block.stack_out.weight[:, 2] = 0
        labels = torch.arange(5) % 3
        batches = [(*inputs(), labels)]
        saliency = measure_saliency(parent, batches, F.cross_entropy)
        heads = tuple(kind for at, kind in enumerate(layer.heads) if at not in (3, 8))
        shape = Architecture((dataclasses.replace(layer, heads=heads, feed_forward=(4, 4)),) * 2)
        plan = plan_shrink(parent.config, shape, [0, 1], saliency)
        assert all(set(kept) == set(range(14)) - {3, 8} for kept in plan.heads)
        assert plan.feed_forward == (((1, 2, 3, 5), (0, 1, 3, 4)),) * 2
        child = shrink(parent, plan, config_of(parent.config, plan, shape))
        torch.testing.assert_close(
            run(child, inputs()).double(), run(parent, inputs()), rtol=1e-4, atol=1e-5
        )

    @pytest.mark.parametrize("positions", ["relative", "absolute"])
    @pytest.mark.parametrize("kind", HEAD_KINDS)
    def test_a_head_of_each_kind_computes_as_before(
        self, model_of: Models, kind: str, positions: str
    ) -> None:
        """It is kept alone, the second of its kind, with the parameters that were its own."""
        whole = Architecture((EVERY_KIND,))
        parent = model_of(whole, positions)
        head = EVERY_KIND.heads.index(kind) + 1
        saliency = random_saliency(whole, np.random.default_rng(0))
        saliency.heads[0][head] = 2.0
        shape = Architecture((dataclasses.replace(EVERY_KIND, heads=(kind,)),))
        plan = plan_shrink(parent.config, shape, [0], saliency)
        assert plan.heads == ((head,),)
        child = shrink(parent, plan, config_of(parent.config, plan, shape)).double()
        x = torch.randn(2, 7, 12, dtype=torch.double, generator=torch.Generator().manual_seed(0))
        masked = torch.zeros(2, 1, 1, 7, dtype=torch.double)
        masked[1, ..., 5:] = -10000.0
        with torch.no_grad():
            wanted = parent.blocks[0].heads(x, masked)[..., 3 * head : 3 * head + 3]
            found = child.blocks[0].heads(x, masked)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        assert wanted.abs().min() > 0


class TestDroppingLayers:
    @settings(max_examples=40, deadline=None)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_is_to_skip_them_and_keep_the_changes_of_width(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        rng = np.random.default_rng(seed)
        whole = sample(SPACE, 1, rng)[0]
        parent = model_of(whole, positions, pooling)
        count = int(rng.integers(1, len(whole.layers) + 1))
        kept = np.sort(rng.choice(len(whole.layers), count, replace=False)).tolist()
        shape = Architecture(tuple(random_part(whole.layers[source], rng) for source in kept))
        plan = plan_shrink(parent.config, shape, kept, random_saliency(whole, rng))
        config = config_of(parent.config, plan, shape)
        if loses_a_width(whole, kept):
            with pytest.raises(ArchitectureError, match="change the width") as caught:
                shrink(parent, plan, config)
            assert caught.value.hint
            return
        wanted = run_layers(silenced(parent, plan), kept, inputs())
        found = run(shrink(parent, plan, config), inputs())
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)

    def test_three_projections_become_one(self, model_of: Models, inputs: MakeInputs) -> None:
        layers = tuple(
            Layer(hidden=width, heads=("sa_sdp",), head_size=2, feed_forward=(4,))
            for width in (6, 9, 5, 8)
        )
        parent = model_of(Architecture(layers))
        shape = Architecture((layers[0], layers[3]))
        saliency = random_saliency(parent.config.architecture, np.random.default_rng(0))
        plan = plan_shrink(parent.config, shape, [0, 3], saliency)
        child = shrink(parent, plan, config_of(parent.config, plan, shape)).double()
        one = child.blocks[0].project
        assert one is not None
        assert (one.in_features, one.out_features) == (6, 8)
        x = torch.randn(4, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
        wanted = x
        for block in parent.blocks[:3]:
            assert block.project is not None
            wanted = block.project(wanted)
        torch.testing.assert_close(one(x), wanted, rtol=1e-5, atol=1e-5)


def loses_a_width(whole: Architecture, kept: list[int]) -> bool:
    """Whether a change of width has no place between two kept layers of different width."""
    hidden = [layer.hidden for layer in whole.layers]
    if any(width != hidden[kept[0]] for width in hidden[: kept[0]]):
        return True
    if any(width != hidden[kept[-1]] for width in hidden[kept[-1] :]):
        return True
    return any(
        hidden[here] == hidden[there] and len(set(hidden[here : there + 1])) > 1
        for here, there in zip(kept, kept[1:])
    )


class TestCuttingTheVocabulary:
    def test_renumbered_tokens_mean_what_they_meant(
        self, model_of: Models, inputs: MakeInputs
    ) -> None:
        whole = Architecture((EVERY_KIND,))
        parent = model_of(whole)
        tokens = (20, 3, 1, 7, 11, 5, 2)
        saliency = random_saliency(whole, np.random.default_rng(0))
        plan = plan_shrink(parent.config, whole, [0], saliency, tokens=tokens)
        child = shrink(parent, plan, config_of(parent.config, plan, whole)).double()
        new = torch.randint(0, 7, (5, 7), generator=torch.Generator().manual_seed(0))
        _, mask, types = inputs()
        old = torch.tensor(tokens)[new]
        assert torch.allclose(run(child, (new, mask, types)), run(parent, (old, mask, types)))
        assert child.config.pad_id == 2
        assert child.embedding.word.padding_idx == 2


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"vocab_size": 22}, "vocab_size"),
            ({"pad_id": 0}, "pad_id"),
            ({"positions": "absolute"}, "positions"),
            ({"max_positions": 12}, "max_positions"),
            ({"type_vocab_size": 1}, "type_vocab_size"),
            ({"layer_norm_eps": 1e-3}, "layer_norm_eps"),
            ({"pooling": "mean"}, "pooling"),
            ({"outputs": 2}, "outputs"),
            ({"lt_scale": False}, "lt_scale"),
        ],
    )
    def test_a_configuration_that_is_not_the_plans(
        self, model_of: Models, changes: dict[str, object], named: str
    ) -> None:
        whole = Architecture((EVERY_KIND,))
        parent = model_of(whole)
        saliency = random_saliency(whole, np.random.default_rng(0))
        plan = plan_shrink(parent.config, whole, [0], saliency)
        config = dataclasses.replace(parent.config, **changes)  # type: ignore[arg-type]
        with pytest.raises(ArchitectureError, match=f"child's {named}") as caught:
            shrink(parent, plan, config)
        assert caught.value.hint

    def test_another_architecture(self, model_of: Models) -> None:
        whole = Architecture((EVERY_KIND,))
        parent = model_of(whole)
        saliency = random_saliency(whole, np.random.default_rng(0))
        plan = plan_shrink(parent.config, whole, [0], saliency)
        less = Architecture((dataclasses.replace(EVERY_KIND, feed_forward=(5,)),))
        with pytest.raises(ArchitectureError, match="architecture"):
            shrink(parent, plan, dataclasses.replace(parent.config, architecture=less))

    def test_what_shapes_no_weight_is_free(self, model_of: Models) -> None:
        layer = dataclasses.replace(EVERY_KIND, heads=("sa_sdp", "sa_wma"))
        parent = model_of(Architecture((layer,)))
        saliency = random_saliency(parent.config.architecture, np.random.default_rng(0))
        plan = plan_shrink(parent.config, parent.config.architecture, [0], saliency)
        config = dataclasses.replace(parent.config, dropout=0.0, sequence_length=5)
        assert shrink(parent, plan, config).config == config
