"""A factorised embedding: what it computes, what it starts from, and all that is done with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from edgetran_host.export.graph import INPUTS, export_graph
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.factorising import factorise_embedding
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.parameters import count_parameters
from edgetran_host.transfer import WeightMap, measure_share, transfer
from edgetran_host.transfer.growth import add_heads, add_layer
from edgetran_host.transfer.planning import nearest_map
from edgetran_protos.errors import UsageError
from torch import Tensor

HIDDEN, VOCABULARY, LENGTH = 24, 40, 8
LAYER = Layer(hidden=HIDDEN, heads=("sa_sdp",) * 3, head_size=8, feed_forward=(20,))


def build(
    width: int | None = None,
    positions: str = "absolute",
    layers: tuple[Layer, ...] = (LAYER, LAYER),
) -> TextModel:
    """Double precision, no weight zero."""
    torch.manual_seed(4)
    config = ModelConfig(
        architecture=Architecture(layers),
        vocab_size=VOCABULARY,
        positions=positions,
        max_positions=LENGTH + 2,
        type_vocab_size=2,
        pad_id=1,
        layer_norm_eps=1e-3,  # large enough to show where it is left out
        dropout=0.1,
        pooling="cls",
        outputs=3,
        sequence_length=LENGTH,
        embedding_width=width,
    )
    model = TextModel(config).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(2)
    ids = torch.randint(2, VOCABULARY, (5, LENGTH), generator=rng)
    mask = (torch.arange(LENGTH) < torch.arange(4, 9)[:, None]).long()
    return torch.where(mask.bool(), ids, 1), mask, torch.randint(0, 2, ids.shape, generator=rng)


@torch.no_grad()
def error(one: TextModel, other: TextModel) -> float:
    """Of the embedded tokens, relative."""
    ids, _, types = inputs()
    wanted, found = one.embedding(ids, types), other.embedding(ids, types)
    return float((wanted - found).norm() / wanted.norm())


class TestFormula:
    @torch.no_grad()
    def test_tables_and_norm_are_narrow_a_projection_follows(self) -> None:
        model = build(width=5)
        ids, mask, types = inputs()
        parts = {name: weight.numpy() for name, weight in model.embedding.named_parameters()}
        x = parts["word.weight"][ids] + parts["token_type.weight"][types]
        x = x + parts["position.weight"][:LENGTH]
        assert x.shape[-1] == 5
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        x = x * parts["norm.weight"] + parts["norm.bias"]
        x = x @ parts["project.weight"].T + parts["project.bias"]
        found = model.hidden_states(ids, mask, types)[0]
        np.testing.assert_allclose(found.numpy(), x, atol=1e-12)


class TestStart:
    @pytest.mark.parametrize("positions", ["absolute", "relative"])
    def test_full_width_loses_nothing(self, positions: str) -> None:
        parent = build(positions=positions)
        found = factorise_embedding(parent, HIDDEN)
        assert found.relative_error < 1e-6
        with torch.no_grad():
            torch.testing.assert_close(found.model(*inputs()), parent(*inputs()))

    def test_a_table_of_low_rank_loses_nothing_at_its_rank(self) -> None:
        """Words, places and types in one space of 5 dimensions beside the mean."""
        parent = build()
        with torch.no_grad():
            basis = torch.randn(5, HIDDEN, dtype=torch.double)
            for table in (parent.embedding.word, parent.embedding.token_type):
                table.weight.copy_(torch.randn(len(table.weight), 5, dtype=torch.double) @ basis)
            assert parent.embedding.position is not None
            parent.embedding.position.weight.copy_(
                torch.randn(LENGTH + 2, 5, dtype=torch.double) @ basis + 7.0
            )
        found = factorise_embedding(parent, 6)
        assert found.relative_error < 1e-6
        with torch.no_grad():
            torch.testing.assert_close(found.model(*inputs()), parent(*inputs()))
        assert factorise_embedding(parent, 5).relative_error > 0.01

    def test_the_error_falls_with_the_width(self) -> None:
        parent = build()
        found = [factorise_embedding(parent, width) for width in (2, 6, 12, 18, HIDDEN)]
        stated = [one.relative_error for one in found]
        measured = [error(parent, one.model) for one in found]
        assert stated == sorted(stated, reverse=True)
        assert measured == sorted(measured, reverse=True)
        assert stated[0] > 0.5

    def test_the_stated_error_is_that_of_the_tables(self) -> None:
        """Against a singular value decomposition of every sum of a word, a place and a type."""
        parent = build()
        source = parent.embedding
        assert source.position is not None
        rows = (
            source.word.weight[:, None, None]
            + source.position.weight[None, :, None]
            + source.token_type.weight[None, None]
        ).detach()
        rows = rows.reshape(-1, HIDDEN)
        rows = rows - rows.mean(1, keepdim=True)
        energy = torch.linalg.svdvals(rows) ** 2
        wanted = float((energy[6:].sum() / energy.sum()).sqrt())
        assert factorise_embedding(parent, 7).relative_error == pytest.approx(wanted, rel=1e-9)

    def test_tokens_that_count_more_come_out_nearer(self) -> None:
        parent = build()
        ids, _, _ = inputs()
        counts = torch.bincount(ids.flatten(), minlength=VOCABULARY) ** 2.0
        plain = factorise_embedding(parent, 8)
        counted = factorise_embedding(parent, 8, counts.tolist())
        assert error(parent, counted.model) < error(parent, plain.model)

    def test_of_the_seed(self) -> None:
        """Half of MiniLM's width keeps most of its table; the parent is left as it was."""
        seed = load_seed("minilm")
        parent = seed_model(seed, 2, 32)
        before = {name: tensor.clone() for name, tensor in parent.state_dict().items()}
        found = factorise_embedding(parent, 192)
        assert 0.1 < found.relative_error < 0.5
        assert all(torch.equal(parent.state_dict()[name], x) for name, x in before.items())
        kept = found.model.embedding
        assert kept.word.weight.shape == (seed.config.vocab_size, 192)
        assert sum(x.numel() for x in kept.parameters()) < 0.51 * sum(
            x.numel() for x in parent.embedding.parameters()
        )

    @pytest.mark.parametrize("width", [-1, 0, 1, HIDDEN + 1])
    def test_a_width_that_is_none(self, width: int) -> None:
        with pytest.raises(UsageError, match=f"factorised to {width}") as caught:
            factorise_embedding(build(), width)
        assert caught.value.hint

    def test_twice(self) -> None:
        with pytest.raises(UsageError, match="already, to 5"):
            factorise_embedding(build(width=5), 4)

    @pytest.mark.parametrize("counts", [[1.0], [0.0] * VOCABULARY, [-1.0] + [1.0] * 39])
    def test_counts_that_are_none(self, counts: list[float]) -> None:
        with pytest.raises(UsageError, match="counts must be 40 numbers"):
            factorise_embedding(build(), 5, counts)


class TestKeepsWorking:
    @torch.no_grad()
    def test_checkpoint(self, tmp_path: Path) -> None:
        model = build(width=5).float()
        save_model(model, tmp_path / "model", b"{}")
        again, _ = load_model(tmp_path / "model")
        assert again.config == model.config
        assert torch.equal(again(*inputs()), model(*inputs()))

    def test_export(self, tmp_path: Path) -> None:
        model = build(width=5).float()
        export_graph(model, tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        (found,) = session.run(None, {n: x.numpy() for n, x in zip(INPUTS, inputs())})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(*inputs()).numpy(), atol=1e-4)

    @pytest.mark.parametrize("width", [None, 5, HIDDEN])
    def test_count(self, width: int | None) -> None:
        """Against the model itself, in the published network's positions and types."""
        model = build(width, positions="relative")
        config = dataclasses.replace(model.config, max_positions=514, type_vocab_size=1)
        wanted = sum(
            weight.numel()
            for name, weight in TextModel(config).named_parameters()
            if not name.startswith("classifier.")
        )
        found = count_parameters(
            config.architecture, vocab_size=VOCABULARY, positions=0, embedding_width=width
        )
        assert found.total == wanted

    @torch.no_grad()
    def test_fewer_tokens(self) -> None:
        parent = build(width=5)
        ids, mask, types = inputs()
        tokens = tuple(range(VOCABULARY))[::-1]
        weights = dataclasses.replace(WeightMap.identity(parent.config.architecture), tokens=tokens)
        child = transfer(
            parent, weights, dataclasses.replace(parent.config, pad_id=tokens.index(1))
        )
        torch.testing.assert_close(
            child(VOCABULARY - 1 - ids, mask, types), parent(ids, mask, types)
        )

    @torch.no_grad()
    @pytest.mark.parametrize("hidden", [HIDDEN, 2 * HIDDEN])
    def test_growing_keeps_the_outputs(self, hidden: int) -> None:
        """New heads, and a hidden size doubled behind tables that stay as they are."""
        parent = build(width=5)
        edit = add_heads(parent.config.architecture, 0, ("sa_wma", "c_5"))
        shape = edit.architecture
        weights = edit.weights
        if hidden != HIDDEN:
            shape = Architecture(
                tuple(dataclasses.replace(x, hidden=hidden) for x in (LAYER, LAYER))
            )
            weights = nearest_map(parent.config.architecture, shape)
        config = dataclasses.replace(parent.config, architecture=shape)
        child = transfer(parent, weights, config)
        assert torch.equal(child.embedding.word.weight, parent.embedding.word.weight)
        torch.testing.assert_close(child(*inputs()), parent(*inputs()))

    @torch.no_grad()
    def test_a_dropped_first_layer_leaves_the_embedding(self) -> None:
        parent = build(width=5)
        shape = Architecture((LAYER,))
        weights = nearest_map(parent.config.architecture, shape, layers=(1,))
        child = transfer(parent, weights, dataclasses.replace(parent.config, architecture=shape))
        ids, mask, types = inputs()
        states = [m.hidden_states(ids, mask, types)[0] for m in (parent, child)]
        torch.testing.assert_close(*states)

    @torch.no_grad()
    def test_a_new_first_layer_leaves_it_as_it_was(self) -> None:
        """Behind a projection there is no LayerNorm to take over."""
        parent = build(width=5)
        edit = add_layer(parent.config.architecture, 0, LAYER)
        config = dataclasses.replace(parent.config, architecture=edit.architecture)
        child = transfer(parent, edit.weights, config)
        for name, tensor in parent.embedding.state_dict().items():
            assert torch.equal(child.embedding.state_dict()[name], tensor), name

    def test_share_counts_the_projection(self) -> None:
        config = build(width=5).config
        share = measure_share(config, WeightMap.identity(config.architecture), config)
        assert share.overall == 1.0
        assert share.total["projections"] == 5 * HIDDEN + HIDDEN

    def test_another_width_is_no_matter_of_a_map(self) -> None:
        parent = build(width=5)
        with pytest.raises(Exception, match="embedding_width"):
            transfer(
                parent,
                WeightMap.identity(parent.config.architecture),
                dataclasses.replace(parent.config, embedding_width=6),
            )

    def test_every_weight_learns(self) -> None:
        model = build(width=5).train()
        model(*inputs()).square().sum().backward()
        for name, weight in model.embedding.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


def test_configurations_from_before_read_on() -> None:
    raw: dict[str, Any] = build().config.to_json()
    for name in ("embedding_width", "pooler_activation", "legacy_sa_zero"):
        del raw[name]
    assert ModelConfig.from_json(raw) == build().config
    assert ModelConfig.from_json(build(width=5).config.to_json()).embedding_width == 5
