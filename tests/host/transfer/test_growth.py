"""A model that grows computes what it did, with every head kind and any architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.transfer import (
    Edit,
    WeightMap,
    add_heads,
    add_layer,
    add_stack,
    nearest_map,
    prefix_map,
    transfer,
    widen,
)
from edgetran_protos.errors import ArchitectureError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Inputs = tuple[Tensor, Tensor, Tensor]
Models = Callable[..., TextModel]
MakeInputs = Callable[..., Inputs]

SPACE = DesignSpace(
    name="small",
    layer_counts=(1, 2, 3),
    hidden_sizes=(8, 10, 12),
    head_counts=(1, 2, 4, 7),
    head_kinds=HEAD_KINDS,
    feed_forward_widths=(3, 5, 6),
    feed_forward_depths=(1, 2, 3),
)
POSITIONS = st.sampled_from(["relative", "absolute"])
POOLINGS = st.sampled_from(["cls", "mean"])
SEEDS = st.integers(0, 2**32 - 1)
EVERY_KIND = Layer(hidden=12, heads=HEAD_KINDS, head_size=3, feed_forward=(6, 5))


@torch.no_grad()
def run(model: TextModel, inputs: Inputs) -> Tensor:
    found: Tensor = model(*inputs)
    return found


def grown(parent: TextModel, edit: Edit, seed: int = 3) -> TextModel:
    config = dataclasses.replace(parent.config, architecture=edit.architecture)
    child = transfer(parent, edit.weights, config, seed)
    assert child.config.architecture == edit.architecture
    return child


def assert_same(child: TextModel, parent: TextModel, inputs: Inputs, atol: float = 1e-7) -> None:
    torch.testing.assert_close(run(child, inputs), run(parent, inputs), rtol=0, atol=atol)


class TestNothingIsLost:
    @settings(max_examples=30)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_by_new_heads(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        rng = np.random.default_rng(seed)
        parent = model_of(sample(SPACE, 1, rng)[0], positions, pooling)
        layer = int(rng.integers(len(parent.layers)))
        kinds = rng.choice(HEAD_KINDS, int(rng.integers(1, 4))).tolist()
        child = grown(parent, add_heads(parent.config.architecture, layer, kinds))
        assert_same(child, parent, inputs(), 1e-10)
        heads = child.config.architecture.layers[layer].heads
        assert sorted(heads) == sorted([*parent.config.architecture.layers[layer].heads, *kinds])

    @settings(max_examples=30)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_by_new_neurons(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        rng = np.random.default_rng(seed)
        parent = model_of(sample(SPACE, 1, rng)[0], positions, pooling)
        layer = int(rng.integers(len(parent.layers)))
        widths = parent.config.architecture.layers[layer].feed_forward
        stack = int(rng.integers(len(widths)))
        width = widths[stack] + int(rng.integers(1, 5))
        child = grown(parent, widen(parent.config.architecture, layer, stack, width))
        assert_same(child, parent, inputs(), 1e-10)

    @settings(max_examples=30)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_by_a_new_matrix_in_the_stack(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        rng = np.random.default_rng(seed)
        parent = model_of(sample(SPACE, 1, rng)[0], positions, pooling)
        layer = int(rng.integers(len(parent.layers)))
        last = parent.config.architecture.layers[layer].feed_forward[-1]
        edit = add_stack(parent.config.architecture, layer, last + int(rng.integers(0, 4)))
        assert_same(grown(parent, edit), parent, inputs(), 1e-5)

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_by_a_new_matrix_anywhere(
        self, model_of: Models, inputs: MakeInputs, place: int
    ) -> None:
        """In front it has to carry whatever LayerNorm gives, between others what GELU gives."""
        parent = model_of(Architecture((EVERY_KIND,)))
        widths, stacks, neurons = [6, 5], [0, 1], [range(6), range(5)]
        entering = [12, *widths][place]
        widths.insert(place, entering + 1)
        stacks.insert(place, None)
        neurons.insert(place, [*range(entering), None])
        shape = Architecture((dataclasses.replace(EVERY_KIND, feed_forward=tuple(widths)),))
        weights = dataclasses.replace(
            WeightMap.identity(shape),
            stacks=(tuple(stacks),),
            neurons=(tuple(tuple(units) for units in neurons),),
        )
        assert_same(grown(parent, Edit(shape, weights)), parent, inputs(), 1e-6)

    @settings(max_examples=30)
    @given(SEEDS, POSITIONS, POOLINGS)
    def test_by_new_layers(
        self, model_of: Models, inputs: MakeInputs, seed: int, positions: str, pooling: str
    ) -> None:
        """At any place that no change of width comes before, and one upon another."""
        rng = np.random.default_rng(seed)
        parent = model_of(sample(SPACE, 1, rng)[0], positions, pooling)
        architecture = parent.config.architecture
        weights, child = WeightMap.identity(architecture), parent
        for _ in range(2):
            layers = child.config.architecture.layers
            at = int(rng.integers(len(layers) + 1))
            new = dataclasses.replace(
                sample(SPACE, 1, rng)[0].layers[0], hidden=layers[max(at - 1, 0)].hidden
            )
            child = grown(child, add_layer(child.config.architecture, at, new))
        assert weights.layers == tuple(range(len(architecture.layers)))
        assert_same(child, parent, inputs(), 1e-5)

    @pytest.mark.parametrize("positions", ["relative", "absolute"])
    @pytest.mark.parametrize("kind", [kind for kind in HEAD_KINDS if kind[:2] != "l_"])
    def test_by_larger_heads(
        self, model_of: Models, inputs: MakeInputs, kind: str, positions: str
    ) -> None:
        small = Layer(hidden=12, heads=(kind, kind), head_size=3, feed_forward=(4,))
        parent = model_of(Architecture((small, small)), positions)
        shape = Architecture((dataclasses.replace(small, head_size=5), small))
        weights = nearest_map(parent.config.architecture, shape)
        assert weights.channels == ((0, 1, 2, None, None), None)
        assert_same(grown(parent, Edit(shape, weights)), parent, inputs(), 1e-10)

    @pytest.mark.parametrize("kind", ["l_dft", "l_dct"])
    def test_but_a_transform_over_more_channels_is_another(
        self, model_of: Models, inputs: MakeInputs, kind: str
    ) -> None:
        small = Layer(hidden=12, heads=(kind,), head_size=3, feed_forward=(4,))
        parent = model_of(Architecture((small,)))
        shape = Architecture((dataclasses.replace(small, head_size=5),))
        child = grown(parent, Edit(shape, nearest_map(parent.config.architecture, shape)))
        assert not torch.allclose(run(child, inputs()), run(parent, inputs()), atol=1e-3)


class TestCopies:
    def test_of_a_head_share_its_work(self, model_of: Models, inputs: MakeInputs) -> None:
        parent = model_of(Architecture((EVERY_KIND, EVERY_KIND)))
        twice = tuple(head for head in range(7) for _ in range(2 if head in (0, 3, 5) else 1))
        heads = tuple(HEAD_KINDS[head] for head in twice)
        shape = Architecture((EVERY_KIND, dataclasses.replace(EVERY_KIND, heads=heads)))
        weights = dataclasses.replace(WeightMap.identity(shape), heads=(tuple(range(7)), twice))
        assert_same(grown(parent, Edit(shape, weights)), parent, inputs(), 1e-10)

    def test_of_a_neuron_share_its_work(self, model_of: Models, inputs: MakeInputs) -> None:
        parent = model_of(Architecture((EVERY_KIND,)))
        shape = Architecture((dataclasses.replace(EVERY_KIND, feed_forward=(8, 6)),))
        weights = dataclasses.replace(
            WeightMap.identity(shape),
            neurons=(((0, 1, 1, 1, 2, 3, 4, 5), (4, 0, 1, 2, 3, 4)),),
        )
        assert_same(grown(parent, Edit(shape, weights)), parent, inputs(), 1e-10)

    def test_in_a_new_matrix_share_their_work(self, model_of: Models, inputs: MakeInputs) -> None:
        parent = model_of(Architecture((EVERY_KIND,)))
        shape = Architecture((dataclasses.replace(EVERY_KIND, feed_forward=(6, 5, 7)),))
        weights = dataclasses.replace(
            WeightMap.identity(shape),
            stacks=((0, 1, None),),
            neurons=((tuple(range(6)), tuple(range(5)), (3, 3, 0, 1, 2, None, 4)),),
        )
        assert_same(grown(parent, Edit(shape, weights)), parent, inputs(), 1e-6)


class TestConversions:
    @pytest.mark.parametrize("positions", ["relative", "absolute"])
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (("sa_sdp", "sa_sdp"), ("sa_sdp", "sa_wma")),
            (("sa_sdp", "sa_wma"), ("sa_sdp", "sa_sdp")),
            (("sa_wma", "sa_wma"), ("sa_sdp", "sa_sdp")),
            (("sa_wma", "c_5"), ("sa_sdp", "c_5")),
        ],
    )
    def test_of_dot_product_and_weighted_heads_lose_nothing(
        self,
        model_of: Models,
        inputs: MakeInputs,
        positions: str,
        old: tuple[str, ...],
        new: tuple[str, ...],
    ) -> None:
        layer = Layer(hidden=12, heads=old, head_size=3, feed_forward=(4,))
        parent = model_of(Architecture((layer,)), positions)
        shape = Architecture((dataclasses.replace(layer, heads=new),))
        child = grown(parent, Edit(shape, WeightMap.identity(shape)))
        assert_same(child, parent, inputs(), 1e-10)

    @pytest.mark.parametrize(("old", "new"), [("c_5", "c_9"), ("c_9", "c_13"), ("c_5", "c_13")])
    def test_to_a_longer_convolution_lose_nothing(
        self, model_of: Models, inputs: MakeInputs, old: str, new: str
    ) -> None:
        layer = Layer(hidden=12, heads=("sa_sdp", old, old), head_size=3, feed_forward=(4,))
        parent = model_of(Architecture((layer,)))
        shape = Architecture((dataclasses.replace(layer, heads=("sa_sdp", old, new)),))
        child = grown(parent, Edit(shape, WeightMap.identity(shape)))
        assert_same(child, parent, inputs(), 1e-6)

    @pytest.mark.parametrize("taps", ["centred", "interpolated"])
    def test_to_a_shorter_convolution_keep_its_middle_taps(
        self, model_of: Models, taps: str
    ) -> None:
        layer = Layer(hidden=12, heads=("c_5", "c_9"), head_size=3, feed_forward=(4,))
        parent = model_of(Architecture((layer,)))
        shape = Architecture((dataclasses.replace(layer, heads=("c_5", "c_5")),))
        weights = dataclasses.replace(WeightMap.identity(shape), taps=taps)
        child = grown(parent, Edit(shape, weights))
        old = parent.blocks[0].heads.groups["c_9"].get_parameter("depthwise")
        new = child.blocks[0].heads.groups["c_5"].get_parameter("depthwise")[3:]
        # Five taps over nine fall on every other one; the sum over taps is kept.
        wanted = old[..., 2:7] if taps == "centred" else old[..., ::2] * 9 / 5
        torch.testing.assert_close(new, wanted)


class TestAWiderHiddenState:
    @settings(max_examples=25)
    @given(SEEDS, POSITIONS, POOLINGS, st.sampled_from([2, 3]))
    def test_by_a_whole_factor_loses_nothing(
        self,
        model_of: Models,
        inputs: MakeInputs,
        seed: int,
        positions: str,
        pooling: str,
        factor: int,
    ) -> None:
        """Each channel is there `factor` times, so mean and variance are as before."""
        rng = np.random.default_rng(seed)
        parent = model_of(sample(SPACE, 1, rng)[0], positions, pooling)
        old = parent.config.architecture
        shape = Architecture(
            tuple(dataclasses.replace(layer, hidden=factor * layer.hidden) for layer in old.layers)
        )
        assert_same(grown(parent, Edit(shape, nearest_map(old, shape))), parent, inputs(), 1e-5)

    @settings(max_examples=15)
    @given(SEEDS)
    def test_by_a_rotation_loses_nothing_where_norms_weigh_alike(
        self, model_of: Models, inputs: MakeInputs, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        parent = model_of(sample(SPACE, 1, rng)[0], "relative", "mean")
        with torch.no_grad():
            for module in parent.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.weight.fill_(0.7)
        old = parent.config.architecture
        shape = Architecture(
            tuple(dataclasses.replace(layer, hidden=layer.hidden + 3) for layer in old.layers)
        )
        weights = nearest_map(old, shape, rotation=seed)
        assert_same(grown(parent, Edit(shape, weights)), parent, inputs(), 1e-5)

    def test_otherwise_is_nearest_by_copies(self, model_of: Models, inputs: MakeInputs) -> None:
        rng = np.random.default_rng(0)
        errors: dict[str, list[float]] = {"copies": [], "new": []}
        for seed, old in enumerate(sample(SPACE, 20, rng)):
            parent = model_of(old, pooling="mean", seed=seed)
            shape = Architecture(
                tuple(dataclasses.replace(layer, hidden=layer.hidden + 4) for layer in old.layers)
            )
            for name, weights in (
                ("copies", nearest_map(old, shape)),
                ("new", prefix_map(old, shape)),
            ):
                child = grown(parent, Edit(shape, weights))
                error = run(child, inputs()) - run(parent, inputs())
                errors[name].append(float(error.square().mean().sqrt()))
        assert np.median(errors["copies"]) < 0.75 * np.median(errors["new"]), errors


class TestADroppedMatrix:
    def test_is_replaced_by_its_linear_fit(self, model_of: Models) -> None:
        """GELU(a) ~ a / 2 + 1 / (2 sqrt(pi)), taken into the matrix that is left."""
        layer = Layer(hidden=12, heads=("sa_sdp",), head_size=3, feed_forward=(6, 5))
        parent = model_of(Architecture((layer,)))
        shape = Architecture((dataclasses.replace(layer, feed_forward=(6,)),))
        child = grown(parent, Edit(shape, nearest_map(parent.config.architecture, shape)))
        block, found = parent.blocks[0], child.blocks[0].stack_out
        dropped, out = block.stack[1], block.stack_out
        u = torch.randn(9, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            wanted = out(dropped(u) / 2 + 0.28209479177387814)
            torch.testing.assert_close(found(u), wanted)


class TestTwoNewMatrices:
    def test_one_upon_another_lose_nothing(self, model_of: Models, inputs: MakeInputs) -> None:
        parent = model_of(Architecture((EVERY_KIND,)))
        once = add_stack(parent.config.architecture, 0, 6)
        child = grown(parent, once)
        assert_same(child, parent, inputs(), 1e-6)
        shape = Architecture((dataclasses.replace(EVERY_KIND, feed_forward=(6, 5, 6, 7)),))
        weights = dataclasses.replace(
            WeightMap.identity(shape),
            stacks=((0, 1, None, None),),
            neurons=(
                (
                    *((tuple(range(n))) for n in (6, 5)),
                    (*range(5), None),
                    (4, 3, 2, 1, 0, None, None),
                ),
            ),
        )
        both = grown(parent, Edit(shape, weights))
        assert_same(both, parent, inputs(), 1e-6)
        lifts = [float(both.blocks[0].stack[i].bias[0].detach()) for i in (2, 3)]
        assert lifts == [6.0, 0.0]  # lifted once is lifted enough


class TestPooledChannels:
    def test_follow_the_hidden_ones(self, model_of: Models) -> None:
        layer = Layer(hidden=12, heads=("sa_sdp",), head_size=3, feed_forward=(6,))
        parent = model_of(Architecture((layer,)), pooling="cls")
        shape = Architecture((dataclasses.replace(layer, hidden=3),))
        kept = [2, 5, 11]
        weights = dataclasses.replace(WeightMap.identity(shape), hidden=(tuple(kept),))
        child = grown(parent, Edit(shape, weights))
        assert child.pooler is not None
        assert parent.pooler is not None
        assert torch.equal(child.pooler.weight, parent.pooler.weight[kept][:, kept])
        assert torch.equal(child.classifier.weight, parent.classifier.weight[:, kept])


class TestFreshParts:
    def test_are_drawn_from_the_seed_alone(self, model_of: Models) -> None:
        parent = model_of(Architecture((EVERY_KIND,)))
        edit = add_heads(parent.config.architecture, 0, HEAD_KINDS)
        torch.manual_seed(0)
        before = torch.get_rng_state()
        one, again, other = (grown(parent, edit, seed).state_dict() for seed in (1, 1, 2))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(x, again[name]) for name, x in one.items())
        assert any(not torch.equal(x, other[name]) for name, x in one.items())

    def test_can_learn(self, model_of: Models, inputs: MakeInputs) -> None:
        """What starts without effect must not stay so: its output columns have gradients."""
        parent = model_of(Architecture((EVERY_KIND,)))
        child = grown(parent, add_heads(parent.config.architecture, 0, ["c_9", "sa_wma"]))
        child(*inputs()).square().sum().backward()
        found = child.blocks[0].heads_out.weight
        new = (found == 0).all(dim=0)
        assert int(new.sum()) == 2 * 3
        assert (found.grad[:, new].abs().sum(dim=0) > 0).all()


class TestRefused:
    def test_with_the_layer_and_what_would_do(self, model_of: Models) -> None:
        old = Architecture((EVERY_KIND,))
        for edit, said in (
            (lambda: add_heads(old, 0, ["c_7"]), "c_7"),
            (lambda: add_heads(old, 1, ["c_5"]), "no layer 1"),
            (lambda: widen(old, 0, 0, 5), "layer 0: stack 0 cannot grow to 5"),
            (lambda: add_stack(old, 0, 0), "layer 0"),
            (lambda: add_layer(old, 3, EVERY_KIND), "no place 3"),
            (lambda: add_layer(old, 1, dataclasses.replace(EVERY_KIND, hidden=8)), "hidden size 8"),
        ):
            with pytest.raises(ArchitectureError, match=said):
                edit()

    @pytest.mark.parametrize(
        ("changes", "said", "possible"),
        [
            ({"layers": (1,)}, "layers .1. do not exist", "0 to 0"),
            ({"heads": ((2, 1, 0, 3, 4, 5, 6),)}, "layer 0 from layer 0: a sa_sdp head", "0, 1"),
            ({"heads": ((0,),)}, "1 heads, the child has 7", ""),
            ({"neurons": (((0,) * 6, (7,) * 5),)}, "neurons", "0 to 4"),
            ({"stacks": ((1, 0),)}, "ascend", "order"),
            ({"channels": ((0, 0, 1),)}, "taken twice", "once"),
            ({"hidden": ((*range(11), 12),)}, "hidden channels .12.", "0 to 11"),
            ({"tokens": (2, 3)}, "padding token", "add it"),
            ({"tokens": (1, -2)}, "distinct ids below 23", "each token once"),
            ({"layers": ()}, "0 layers", ""),
        ],
    )
    def test_a_map_that_does_not_fit(
        self, model_of: Models, changes: dict[str, object], said: str, possible: str
    ) -> None:
        parent = model_of(Architecture((EVERY_KIND,)))
        weights = dataclasses.replace(
            WeightMap.identity(parent.config.architecture),
            **changes,  # type: ignore[arg-type]
        )
        with pytest.raises(ArchitectureError, match=said) as caught:
            transfer(parent, weights, parent.config)
        assert possible in caught.value.hint

    def test_a_size_nothing_is_said_of(self, model_of: Models) -> None:
        parent = model_of(Architecture((EVERY_KIND,)))
        for change in ({"hidden": 10}, {"head_size": 2}):
            shape = Architecture((dataclasses.replace(EVERY_KIND, **change),))
            config: ModelConfig = dataclasses.replace(parent.config, architecture=shape)
            with pytest.raises(ArchitectureError, match=r"from layer 0: h.* differs") as one:
                transfer(parent, WeightMap.identity(shape), config)
            assert "keep" in one.value.hint or "head size of 3" in one.value.hint

    def test_neighbours_that_keep_different_channels(self, model_of: Models) -> None:
        parent = model_of(Architecture((EVERY_KIND, EVERY_KIND)))
        turned = tuple(reversed(range(12)))
        weights = dataclasses.replace(
            WeightMap.identity(parent.config.architecture), hidden=(None, turned)
        )
        with pytest.raises(ArchitectureError, match="layers 0 and 1"):
            transfer(parent, weights, parent.config)
