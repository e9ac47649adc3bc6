"""Whole models: the layer's formula, odd architectures, padding, gradients."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import Block, TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.space.design_space import DesignSpace
from edgetran_host.space.identity import architecture_id
from edgetran_host.space.sampling import METHODS, sample
from edgetran_protos.errors import InputError, UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

LENGTH = 12
SMALL = dataclasses.replace(
    DesignSpace.flexibert2(),
    name="small",
    layer_counts=(1, 2, 3),
    hidden_sizes=(24, 32, 48),
    feed_forward_widths=(16, 24, 40, 56),
)
PLAIN = Layer(hidden=16, heads=("sa_sdp",) * 2, head_size=8, feed_forward=(24,))
OFF_LATTICE = Architecture.from_dict(
    {
        "l": 3,
        "o": [
            ["c_5_5", "sa_sdp_5", "l_dft_5"],
            ["sa_wma_3"] * 13,
            [f"{kind}_7" for kind in HEAD_KINDS],
        ],
        "h": [18, 45, 31],
        "f": [[7], [11, 64, 3], [90, 20]],
    }
)


def config(architecture: Architecture, **changes: Any) -> ModelConfig:
    plain = ModelConfig(
        architecture=architecture,
        vocab_size=50,
        positions="relative",
        max_positions=16,
        type_vocab_size=2,
        pad_id=1,
        layer_norm_eps=1e-6,
        dropout=0.1,
        pooling="mean",
        outputs=3,
        sequence_length=LENGTH,
    )
    return dataclasses.replace(plain, **changes)


def build(made: ModelConfig, std: float = 0.2) -> TextModel:
    """Weights large enough that every part shows in the logits."""
    torch.manual_seed(0)
    model = TextModel(made).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=std)
    return model


def inputs(rows: int = 3, length: int = LENGTH) -> tuple[Tensor, Tensor, Tensor]:
    """Row r has r + 2 padded places."""
    rng = torch.Generator().manual_seed(7)
    ids = torch.randint(2, 50, (rows, length), generator=rng)
    mask = torch.ones_like(ids)
    for row in range(rows):
        ids[row, length - 2 - row :] = 1
        mask[row, length - 2 - row :] = 0
    return ids, mask, torch.randint(0, 2, (rows, length), generator=rng) * mask


def norm(x: np.ndarray[Any, Any], weight: Tensor, bias: Tensor) -> np.ndarray[Any, Any]:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    found: np.ndarray[Any, Any] = (x - mean) / np.sqrt(variance + 1e-6)
    return found * weight.detach().numpy() + bias.detach().numpy()


class TestLayer:
    @pytest.mark.parametrize("stack", [(24,), (24, 9), (24, 9, 31)])
    @pytest.mark.parametrize("following", [16, 21])
    def test_equals_the_formula(self, stack: tuple[int, ...], following: int) -> None:
        layer = dataclasses.replace(PLAIN, feed_forward=stack)
        block = Block(config(Architecture((layer,))), layer, following).eval().double()
        x = torch.randn(2, LENGTH, 16, dtype=torch.float64)
        masked = torch.zeros(2, 1, 1, LENGTH, dtype=torch.float64)
        apply = {name: weight.detach().numpy() for name, weight in block.named_parameters()}

        def linear(name: str, u: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            found: np.ndarray[Any, Any] = u @ apply[f"{name}.weight"].T + apply[f"{name}.bias"]
            return found

        a = linear("heads_out", block.heads(x, masked).detach().numpy())
        y = norm(x.numpy() + a, block.heads_norm.weight, block.heads_norm.bias)
        u = y
        for i in range(len(stack)):
            u = linear(f"stack.{i}", u)
            u = u / 2 * (1 + np.vectorize(math.erf)(u / math.sqrt(2)))
        y = norm(y + linear("stack_out", u), block.stack_norm.weight, block.stack_norm.bias)
        y = linear("project", y) if following != 16 else y
        np.testing.assert_allclose(block(x, masked).detach().numpy(), y, atol=1e-9)

    @pytest.mark.parametrize("positions", ["absolute", "relative"])
    def test_embedding(self, positions: str) -> None:
        model = build(config(Architecture((PLAIN,)), positions=positions))
        ids, mask, types = inputs()
        state = {n: w.numpy() for n, w in model.embedding.state_dict().items()}
        x = state["word.weight"][ids] + state["token_type.weight"][types]
        if positions == "absolute":
            x = x + state["position.weight"][:LENGTH]
        wanted = norm(x, model.embedding.norm.weight, model.embedding.norm.bias)
        found = model.hidden_states(ids, mask, types)[0].detach().numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert (model.embedding.position is None) == (positions == "relative")


class TestPooling:
    def test_mean_is_of_the_real_tokens(self) -> None:
        model = build(config(Architecture((PLAIN,))))
        ids, mask, types = inputs()
        last = model.hidden_states(ids, mask, types)[-1]
        pooled = torch.stack([x[keep.bool()].mean(0) for x, keep in zip(last, mask)])
        torch.testing.assert_close(model(ids, mask, types), model.classifier(pooled))

    def test_cls_is_a_tanh_of_the_first_token(self) -> None:
        model = build(config(Architecture((PLAIN,)), pooling="cls"))
        ids, mask, types = inputs()
        first = model.hidden_states(ids, mask, types)[-1][:, 0]
        assert model.pooler is not None
        pooled = torch.tanh(first @ model.pooler.weight.t() + model.pooler.bias)
        torch.testing.assert_close(model(ids, mask, types), model.classifier(pooled))

    @pytest.mark.parametrize("name", ["relu", "gelu"])
    def test_cls_behind_another_activation(self, name: str) -> None:
        model = build(config(Architecture((PLAIN,)), pooling="cls", pooler_activation=name))
        ids, mask, types = inputs()
        first = model.hidden_states(ids, mask, types)[-1][:, 0]
        assert model.pooler is not None
        pooled = first @ model.pooler.weight.t() + model.pooler.bias
        pooled = F.relu(pooled) if name == "relu" else pooled * torch.special.ndtr(pooled)
        torch.testing.assert_close(model(ids, mask, types), model.classifier(pooled))

    def test_a_row_without_real_tokens_is_finite(self) -> None:
        ids, mask, types = inputs()
        logits = build(config(Architecture((PLAIN,))))(ids, mask * 0, types)
        assert torch.isfinite(logits).all()


class TestAnyArchitecture:
    @pytest.mark.parametrize("positions", ["absolute", "relative"])
    @pytest.mark.parametrize("pooling", ["cls", "mean"])
    def test_off_the_lattice(self, positions: str, pooling: str) -> None:
        self.trains(config(OFF_LATTICE, positions=positions, pooling=pooling))

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        method=st.sampled_from(sorted(METHODS)),
        positions=st.sampled_from(["absolute", "relative"]),
        pooling=st.sampled_from(["cls", "mean"]),
        activation=st.sampled_from(["tanh", "gelu"]),
        width=st.sampled_from([None, 6, 32]),
        lt_scale=st.booleans(),
    )
    def test_of_the_whole_space_made_small(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        seed: int,
        method: str,
        positions: str,
        pooling: str,
        activation: str,
        width: int | None,
        lt_scale: bool,
    ) -> None:
        """By every way of sampling; the same again from its files, under one name."""
        (architecture,) = sample(SMALL, 1, np.random.default_rng(seed), method)
        made = config(
            architecture,
            positions=positions,
            pooling=pooling,
            pooler_activation=activation,
            embedding_width=width,
            lt_scale=lt_scale,
        )
        self.trains(made)
        model, folder = build(made), tmp_path_factory.mktemp("drawn") / "model"
        save_model(model, folder, b"{}")
        again, _ = load_model(folder)
        assert again.config == made
        assert torch.equal(again(*inputs()), model(*inputs()))
        shuffled = Architecture(
            tuple(
                dataclasses.replace(
                    layer, heads=tuple(np.random.default_rng(seed).permutation(layer.heads))
                )
                for layer in architecture.layers
            )
        )
        assert architecture_id(shuffled) == architecture_id(again.config.architecture)

    @staticmethod
    def trains(made: ModelConfig) -> None:
        """One pass forwards and back; every weight takes part."""
        model = build(made).train()
        ids, mask, types = inputs()
        logits = model(ids, mask, types)
        assert logits.shape == (3, 3)
        states = model.hidden_states(ids, mask, types)
        widths = [layer.hidden for layer in made.architecture.layers]
        assert [x.shape[2] for x in states] == [widths[0], *widths[1:], widths[-1]]
        F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name
            if not name.endswith("key.bias"):  # softmax cancels what all keys share
                assert weight.grad.abs().sum() > 0, name

    def test_legacy_sa_zero_silences_attention(self) -> None:
        """Nothing but the first token's own row reaches a classifier on it."""
        made = config(Architecture((PLAIN,)), pooling="cls", legacy_sa_zero=True)
        ids, mask, types = inputs()
        other = ids.clone()
        other[:, 1:] = 7
        model = build(made)
        assert torch.equal(model(ids, mask, types), model(other, mask, types))
        model = build(dataclasses.replace(made, legacy_sa_zero=False))
        assert not torch.allclose(model(ids, mask, types), model(other, mask, types))

    def test_lt_scale_is_part_of_the_model(self) -> None:
        layer = dataclasses.replace(PLAIN, heads=("l_dft", "l_dct"))
        one, other = (build(config(Architecture((layer,)), lt_scale=on)) for on in (True, False))
        assert one.state_dict().keys() == other.state_dict().keys()
        assert not torch.allclose(one(*inputs()), other(*inputs()))


class TestPadding:
    @pytest.mark.parametrize("positions", ["absolute", "relative"])
    def test_dot_product_heads_ignore_it(self, positions: str) -> None:
        layers = (PLAIN, dataclasses.replace(PLAIN, hidden=20))
        model = build(config(Architecture(layers), positions=positions))
        ids, mask, types = inputs()
        short = [x[:, : LENGTH - 2] for x in (ids, mask, types)]
        longer = [F.pad(x, (0, 4), value=v) for x, v in zip((ids, mask, types), (1, 0, 0))]
        wide = TextModel(dataclasses.replace(model.config, sequence_length=16)).eval()
        wide.load_state_dict(model.state_dict())
        torch.testing.assert_close(model(*short), model(ids, mask, types))
        torch.testing.assert_close(wide(*longer), model(ids, mask, types))

    @pytest.mark.parametrize("kind", ["l_dft", "l_dct", "c_5"])
    def test_other_heads_always_run_at_the_configured_length(self, kind: str) -> None:
        layer = dataclasses.replace(PLAIN, heads=("sa_sdp", kind))
        model = build(config(Architecture((layer,))))
        ids, mask, types = inputs()
        short = (ids[:, : LENGTH - 2], mask[:, : LENGTH - 2], types[:, : LENGTH - 2])
        torch.testing.assert_close(model(*short), model(ids, mask, types))
        assert model.hidden_states(*short)[-1].shape == (3, LENGTH - 2, 16)

    def test_too_long_is_refused(self) -> None:
        model = build(config(Architecture((PLAIN,))))
        with pytest.raises(InputError, match="13 tokens") as caught:
            model(*inputs(length=LENGTH + 1))
        assert str(LENGTH) in caught.value.hint


class TestConfig:
    def test_round_trip(self) -> None:
        made = config(OFF_LATTICE, lt_scale=False)
        assert ModelConfig.from_json(made.to_json()) == made

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"positions": "rotary"}, "positions"),
            ({"pooling": "max"}, "pooling"),
            ({"outputs": 0}, "outputs"),
            ({"pad_id": 50}, "pad_id"),
            ({"dropout": 1.0}, "dropout"),
            ({"layer_norm_eps": 0.0}, "layer_norm_eps"),
            ({"sequence_length": 17}, "17"),
            ({"vocab_size": "50"}, "vocab_size"),
            ({"lt_scale": 1}, "lt_scale"),
            ({"embedding_width": 0}, "embedding_width"),
            ({"embedding_width": "8"}, "embedding_width"),
            ({"pooler_activation": "silu"}, "pooler_activation"),
            ({"pooler_activation": None}, "pooler_activation"),
            ({"legacy_sa_zero": 0}, "legacy_sa_zero"),
            ({"architecture": []}, "architecture"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_wrong_fields_are_named(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            ModelConfig.from_json({**config(OFF_LATTICE).to_json(), **change})

    def test_missing_fields_are_named(self) -> None:
        with pytest.raises(UsageError, match="pooling"):
            ModelConfig.from_json(
                {k: v for k, v in config(OFF_LATTICE).to_json().items() if k != "pooling"}
            )


def test_dot_product_heads_use_the_fused_attention() -> None:
    model = build(config(Architecture((PLAIN,)), positions="absolute"))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        model(*inputs())
    called = {event.key for event in profile.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in called
