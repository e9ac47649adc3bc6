"""Maps between any two architectures fit, keep what they promise, and survive a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.sampling import sample
from edgetran_host.transfer import (
    Saliency,
    WeightMap,
    add_heads,
    measure_saliency,
    measure_share,
    nearest_map,
    plan_shrink,
    prefix_map,
    salient_map,
    shrink,
    transfer,
)
from edgetran_host.transfer.planning import align_layers
from edgetran_host.transfer.share import kind_of
from edgetran_protos.errors import ArchitectureError, UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Models = Callable[..., TextModel]
MakeInputs = Callable[..., tuple[Tensor, Tensor, Tensor]]

SPACE = DesignSpace(
    name="small",
    layer_counts=(1, 2, 3, 4),
    hidden_sizes=(8, 10, 12),
    head_counts=(1, 2, 4, 7),
    head_kinds=HEAD_KINDS,
    feed_forward_widths=(3, 5, 6),
    feed_forward_depths=(1, 2, 3),
)
SEEDS = st.integers(0, 2**32 - 1)
POSITIONS = st.sampled_from(["relative", "absolute"])
POOLINGS = st.sampled_from(["cls", "mean"])


def random_saliency(architecture: Architecture, rng: np.random.Generator) -> Saliency:
    return Saliency(
        [torch.tensor(rng.random(len(layer.heads))) for layer in architecture.layers],
        [
            [torch.tensor(rng.random(f)) for f in layer.feed_forward]
            for layer in architecture.layers
        ],
        [torch.tensor(rng.random(layer.hidden)) for layer in architecture.layers],
    )


def plain(*heads: str, hidden: int = 12, size: int = 3, widths: tuple[int, ...] = (6,)) -> Layer:
    return Layer(hidden=hidden, heads=heads, head_size=size, feed_forward=widths)


def layers(count: int, layer: Layer) -> Architecture:
    return Architecture((layer,) * count)


class TestAnyPair:
    @settings(max_examples=60)
    @given(SEEDS, POSITIONS, POOLINGS, st.sampled_from(["prefix", "nearest", "salient", "rotated"]))
    def test_gets_a_map_that_fits_and_a_model_that_answers(
        self,
        model_of: Models,
        inputs: MakeInputs,
        seed: int,
        positions: str,
        pooling: str,
        planner: str,
    ) -> None:
        rng = np.random.default_rng(seed)
        old, new = sample(SPACE, 2, rng)
        weights = {
            "prefix": lambda: prefix_map(old, new),
            "nearest": lambda: nearest_map(old, new),
            "salient": lambda: salient_map(old, new, random_saliency(old, rng)),
            "rotated": lambda: nearest_map(old, new, rotation=seed),
        }[planner]()
        parent = model_of(old, positions, pooling)
        child = transfer(parent, weights, dataclasses.replace(parent.config, architecture=new))
        with torch.no_grad():
            assert torch.isfinite(child(*inputs())).all()
        assert WeightMap.from_json(json.loads(json.dumps(weights.to_json()))) == weights

    @settings(max_examples=30)
    @given(SEEDS, POSITIONS, POOLINGS, st.sampled_from([prefix_map, nearest_map]))
    def test_of_equals_is_the_parent_itself(
        self,
        model_of: Models,
        seed: int,
        positions: str,
        pooling: str,
        planner: Callable[..., WeightMap],
    ) -> None:
        rng = np.random.default_rng(seed)
        old = sample(SPACE, 1, rng)[0]
        parent = model_of(old, positions, pooling)
        child = transfer(parent, planner(old, old), parent.config)
        for name, x in parent.state_dict().items():
            assert torch.equal(x, child.state_dict()[name]), name

    @settings(max_examples=30)
    @given(SEEDS)
    def test_salient_is_what_a_plan_to_shrink_keeps(self, model_of: Models, seed: int) -> None:
        rng = np.random.default_rng(seed)
        old = sample(SPACE, 1, rng)[0]
        shape = Architecture(
            tuple(
                dataclasses.replace(
                    layer,
                    heads=layer.heads[:: int(rng.integers(1, 3))],
                    feed_forward=tuple(int(rng.integers(1, f + 1)) for f in layer.feed_forward),
                )
                for layer in old.layers
            )
        )
        saliency = random_saliency(old, rng)
        parent = model_of(old)
        config = dataclasses.replace(parent.config, architecture=shape)
        plan = plan_shrink(parent.config, shape, range(len(old.layers)), saliency)
        ours = transfer(parent, salient_map(old, shape, saliency), config).state_dict()
        for name, x in shrink(parent, plan, config).state_dict().items():
            assert torch.equal(x, ours[name]), name


class TestPrefix:
    def test_matches_heads_at_one_place_by_letter(self) -> None:
        old = layers(2, plain("sa_sdp", "sa_wma", "l_dft", "c_5"))
        new = layers(3, plain("sa_sdp", "sa_sdp", "c_5", "c_9", "c_13"))
        found = prefix_map(old, new)
        assert found.layers == (0, 1, None)
        assert found.heads == ((0, 1, None, 3, None), (0, 1, None, 3, None), (None,) * 5)
        assert found.taps == "interpolated"

    def test_takes_the_first_channels_and_neurons(self) -> None:
        old = layers(1, plain("sa_sdp", hidden=12, size=3, widths=(6, 5)))
        new = layers(1, plain("sa_sdp", hidden=14, size=2, widths=(4, 7)))
        found = prefix_map(old, new)
        assert found.hidden == ((*range(12), None, None),)
        assert found.channels == ((0, 1),)
        assert found.neurons == (((0, 1, 2, 3), (0, 1, 2, 3, 4, None, None)),)


class TestNearest:
    def test_prefers_the_kind_over_the_letter(self) -> None:
        old = layers(1, plain("sa_sdp", "sa_sdp", "sa_wma", "l_dct", "c_9", "c_13"))
        new = layers(1, plain("sa_wma", "sa_wma", "l_dft", "c_5", "c_13", "c_13"))
        assert nearest_map(old, new).heads == ((2, 0, 3, 4, 5, None),)

    @pytest.mark.parametrize(
        ("old", "new", "wanted"),
        [
            (6, 6, (0, 1, 2, 3, 4, 5)),
            (6, 3, (0, 2, 5)),
            (6, 1, (0,)),
            (3, 5, (0, None, 1, None, 2)),
            (2, 4, (0, None, None, 1)),
            (1, 3, (0, None, None)),
        ],
    )
    def test_spreads_layers(self, old: int, new: int, wanted: tuple[int | None, ...]) -> None:
        layer = plain("sa_sdp")
        assert align_layers(layers(old, layer), layers(new, layer)) == wanted

    def test_keeps_the_channels_that_matter_in_all_layers_that_share_them(self) -> None:
        rng = np.random.default_rng(0)
        old = layers(2, plain("sa_sdp"))
        saliency = random_saliency(old, rng)
        for layer in (0, 1):
            saliency.hidden[layer][[1, 4, 7, 10]] += 5 * layer
        found = salient_map(old, layers(2, plain("sa_sdp", hidden=4)), saliency)
        assert found.hidden == ((1, 4, 7, 10),) * 2

    def test_refuses_an_alignment_that_is_none(self) -> None:
        two = layers(2, plain("sa_sdp"))
        for wrong in ((1, 0), (0,), (0, 2)):
            with pytest.raises(ArchitectureError, match="does not align 2 layers") as caught:
                nearest_map(two, two, layers=wrong)
            assert "0 to 1" in caught.value.hint


class TestHiddenSaliency:
    def test_of_a_channel_is_what_closing_it_costs(
        self, model_of: Models, inputs: MakeInputs
    ) -> None:
        """Beside a finite difference: one row, one channel entering layer 1 scaled by 1 - e."""
        parent = model_of(layers(2, plain("sa_sdp", "c_5")))
        row = tuple(x[3:4] for x in inputs())
        labels = torch.tensor([2])
        found = measure_saliency(parent, [(*row, labels)], F.cross_entropy).hidden[1]
        assert found.shape == (12,)
        step = 1e-5
        for channel in range(12):
            losses = []
            for gate in (1 - step, 1 + step):
                handle = parent.blocks[1].register_forward_pre_hook(_gate(channel, gate))
                with torch.no_grad():
                    losses.append(F.cross_entropy(parent(*row), labels))
                handle.remove()
            slope = abs(float(losses[1] - losses[0])) / (2 * step)
            assert float(found[channel]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


def _gate(channel: int, gate: float) -> Callable[..., tuple[Tensor, ...]]:
    def close(_: object, entered: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = entered[0].clone()
        x[..., channel] *= gate
        return (x, *entered[1:])

    return close


class TestAcrossAChangeOfWidth:
    def test_the_parents_projection_goes_from_channels_to_channels(self, model_of: Models) -> None:
        old = Architecture((plain("sa_sdp", hidden=12), plain("sa_sdp", hidden=10)))
        new = Architecture((plain("sa_sdp", hidden=8), plain("sa_sdp", hidden=10)))
        parent = model_of(old)
        weights = dataclasses.replace(
            nearest_map(old, new), hidden=((0, 2, 3, 5, 6, 7, 9, 11), None)
        )
        config = dataclasses.replace(parent.config, architecture=new)
        child = transfer(parent, weights, config)
        one, other = child.blocks[0].project, parent.blocks[0].project
        assert one is not None
        assert other is not None
        assert torch.equal(one.weight, other.weight[:, [0, 2, 3, 5, 6, 7, 9, 11]])
        assert torch.equal(one.bias, other.bias)

    def test_only_the_childs_projection_leads_from_one_choice_to_the_other(
        self, model_of: Models
    ) -> None:
        old = layers(2, plain("sa_sdp"))
        new = Architecture((plain("sa_sdp", hidden=12), plain("sa_sdp", hidden=8)))
        parent = model_of(old)
        child = transfer(
            parent, nearest_map(old, new), dataclasses.replace(parent.config, architecture=new)
        )
        one = child.blocks[0].project
        assert one is not None
        assert torch.equal(one.weight, torch.eye(12, dtype=torch.double)[:8])

    @pytest.mark.parametrize("pooling", ["cls", "mean"])
    def test_dropped_layers_behind_leave_their_projection_to_the_classifier(
        self, model_of: Models, inputs: MakeInputs, pooling: str
    ) -> None:
        old = Architecture((plain("sa_sdp", hidden=12), plain("sa_sdp", hidden=8)))
        parent = model_of(old, pooling=pooling)
        new = Architecture(old.layers[:1])
        config = dataclasses.replace(parent.config, architecture=new)
        child = transfer(parent, nearest_map(old, new), config)
        ids, mask, types = inputs()
        with torch.no_grad():
            x = parent.hidden_states(ids, mask, types)[1]
            wanted = parent.classify(x, mask)
            found = child(ids, mask, types)
        torch.testing.assert_close(found, wanted)

    def test_lost_in_front_is_refused(self, model_of: Models) -> None:
        old = Architecture((plain("sa_sdp", hidden=12), plain("sa_sdp", hidden=8)))
        parent = model_of(old)
        new = Architecture(old.layers[1:])
        config = dataclasses.replace(parent.config, architecture=new)
        with pytest.raises(ArchitectureError, match="before layer 1 change the width"):
            transfer(parent, nearest_map(old, new, layers=(1,)), config)


class TestShare:
    def test_counts_what_an_added_head_brings(self, model_of: Models) -> None:
        layer = plain("sa_sdp", "sa_sdp")
        parent = model_of(layers(2, layer), "relative").config
        edit = add_heads(parent.architecture, 1, ["sa_wma"])
        child = dataclasses.replace(parent, architecture=edit.architecture)
        found = measure_share(parent, edit.weights, child)
        new = {"attention": 3 * (12 * 3 + 3) + 12 * 3, "head_extras": 9}
        for kind, count in found.total.items():
            assert found.inherited[kind] == count - new.get(kind, 0), kind
        whole = sum(x.numel() for x in TextModel(child).parameters())
        assert found.overall == pytest.approx(1 - sum(new.values()) / whole, abs=1e-12)
        assert found.by_kind()["head_extras"] == 0.0
        assert found.by_kind()["embedding"] == 1.0

    @settings(max_examples=15)
    @given(SEEDS)
    def test_names_every_parameter(self, model_of: Models, seed: int) -> None:
        """Beside the design space's own count of the same weights."""
        from edgetran_host.space.parameters import count_parameters

        old = sample(SPACE, 1, np.random.default_rng(seed))[0]
        parent = model_of(old)
        found = measure_share(parent.config, WeightMap.identity(old), parent.config)
        assert found.overall == 1.0
        assert {kind_of(name) for name, _ in parent.named_parameters()} == set(found.total)
        counted = count_parameters(old, vocab_size=23, positions=0, type_vocab_size=2)
        for kind in ("feed_forward", "projections", "norms", "head_extras", "pooler"):
            assert found.total.get(kind, 0) == getattr(counted, kind), kind


class TestAFile:
    def test_keeps_new_parts_and_choices(self) -> None:
        old = layers(2, plain("sa_sdp", "c_5"))
        new = layers(3, plain("sa_sdp", "c_5", "c_9", hidden=14))
        found = nearest_map(old, new, tokens=(3, 1, 2), rotation=7)
        assert WeightMap.from_json(json.loads(json.dumps(found.to_json()))) == found

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"layers": ["0"]}, "layers"),
            ({"layers": [True]}, "layers"),
            ({"layers": [-1]}, "layers"),
            ({"heads": [0]}, "heads"),
            ({"heads": [None]}, "heads"),
            ({"tokens": [None]}, "tokens"),
            ({"taps": "round"}, "taps"),
            ({"rotation": 0.5}, "rotation"),
            ({"strange": 1}, "strange"),
        ],
    )
    def test_that_is_none(self, changes: dict[str, object], said: str) -> None:
        raw = WeightMap.identity(layers(1, plain("sa_sdp"))).to_json() | changes
        with pytest.raises(UsageError, match=said):
            WeightMap.from_json(raw)

    def test_that_lacks_something(self) -> None:
        raw = WeightMap.identity(layers(1, plain("sa_sdp"))).to_json()
        del raw["neurons"]
        with pytest.raises(UsageError, match="neurons"):
            WeightMap.from_json(raw)
        with pytest.raises(UsageError, match="JSON object"):
            WeightMap.from_json([])  # type: ignore[arg-type]


class TestConfigurations:
    @pytest.mark.parametrize("changes", [{"outputs": 2}, {"pooling": "mean"}, {"vocab_size": 30}])
    def test_that_no_map_can_join(self, model_of: Models, changes: dict[str, object]) -> None:
        parent = model_of(layers(1, plain("sa_sdp")))
        config: ModelConfig = dataclasses.replace(parent.config, **changes)  # type: ignore[arg-type]
        weights = WeightMap.identity(parent.config.architecture)
        with pytest.raises(ArchitectureError, match=next(iter(changes))) as caught:
            transfer(parent, weights, config)
        assert caught.value.hint

    @pytest.mark.parametrize("positions", ["absolute", "relative"])
    def test_fewer_positions_are_the_near_ones(
        self, model_of: Models, inputs: MakeInputs, positions: str
    ) -> None:
        parent = model_of(layers(1, plain("sa_sdp")), positions)
        config = dataclasses.replace(parent.config, max_positions=7)
        weights = WeightMap.identity(parent.config.architecture)
        child = transfer(parent, weights, config)
        with torch.no_grad():
            torch.testing.assert_close(child(*inputs()), parent(*inputs()))
