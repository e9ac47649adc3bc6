"""Without padding a model gives the logits and slopes it gives with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.layout import TOKEN_STEP, OneEach, Padded, Ragged
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_protos.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

LENGTH = 12
lengths = st.lists(st.integers(1, LENGTH), min_size=1, max_size=9)


def mask_of(rows: list[int]) -> Tensor:
    return (torch.arange(LENGTH) < torch.tensor(rows)[:, None]).long()


class TestRagged:
    @given(lengths)
    def test_computes_real_tokens_and_few_others(self, rows: list[int]) -> None:
        mask = mask_of(rows)
        layout = Ragged(mask)
        places = layout.places.tolist()
        assert len(set(places)) == len(places)
        assert set(places) >= set(mask.flatten().nonzero().flatten().tolist())
        assert len(places) - sum(rows) < TOKEN_STEP
        assert len(places) % TOKEN_STEP == 0 or len(places) == mask.numel()
        assert layout.places[layout.first].tolist() == [LENGTH * r for r in range(len(rows))]
        assert torch.equal(layout.positions, layout.places % LENGTH)

    @given(lengths)
    def test_spread_is_take_undone(self, rows: list[int]) -> None:
        layout = Ragged(mask_of(rows))
        y = torch.randn(len(layout.places), 3)
        padded = layout.spread(y)
        assert padded.shape == (len(rows), LENGTH, 3)
        assert torch.equal(padded.view(-1, 3)[layout.places], y)
        assert int((padded != 0).any(-1).sum()) == len(y)

    @given(lengths, st.integers(1, 4))
    def test_heads_see_what_they_see_with_padding(self, rows: list[int], heads: int) -> None:
        layout, size = Ragged(mask_of(rows)), 2
        y = torch.randn(len(layout.places), heads * size)
        split = layout.split(y, size)
        assert torch.equal(split, Padded().split(layout.spread(y), size))
        assert torch.equal(layout.join(split), y)

    @given(lengths)
    def test_slopes(self, rows: list[int]) -> None:
        layout = Ragged(mask_of(rows))
        y = torch.randn(len(layout.places), 4, dtype=torch.float64, requires_grad=True)
        z = torch.randn(len(rows), 2, LENGTH, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(layout.spread, y)  # type: ignore[no-untyped-call]
        assert torch.autograd.gradcheck(lambda y: layout.split(y, 2), y)  # type: ignore[no-untyped-call]
        assert torch.autograd.gradcheck(layout.join, z)  # type: ignore[no-untyped-call]

    def test_leaves_the_mask_alone(self) -> None:
        mask = torch.zeros(2, LENGTH, dtype=torch.bool)
        Ragged(mask)
        assert not mask.any()

    def test_one_each(self) -> None:
        y = torch.randn(3, 8)
        split = OneEach().split(y, 2)
        assert torch.equal(split, Padded().split(y[:, None], 2))
        assert torch.equal(OneEach().join(split), y)


def model_of(kinds: tuple[str, ...], **changes: Any) -> TextModel:
    layers = (
        Layer(hidden=16, heads=kinds, head_size=5, feed_forward=(24,)),
        Layer(hidden=20, heads=kinds[:1], head_size=5, feed_forward=(24, 9)),
    )
    how = {"positions": "absolute", "pooling": "cls", "dropout": 0.0, **changes}
    torch.manual_seed(0)
    model = TextModel(
        ModelConfig(
            architecture=Architecture(layers),
            vocab_size=50,
            max_positions=16,
            type_vocab_size=2,
            pad_id=1,
            layer_norm_eps=1e-6,
            outputs=3,
            sequence_length=LENGTH,
            **how,
        )
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2)
    return model.double()


def logits_and_slopes(model: TextModel, inputs: tuple[Tensor, ...], ragged: bool) -> list[Tensor]:
    logits = model(*inputs, ragged=ragged)
    weights = torch.arange(1.0, logits.numel() + 1, dtype=logits.dtype).view(logits.shape)
    slopes = torch.autograd.grad((logits * weights).sum(), [*model.parameters()])
    return [logits.detach(), *slopes]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("kinds", [("sa_sdp",) * 3, ("sa_sdp", "sa_wma", "sa_wma"), ("c_5",)])
def test_equals_the_padded_model(
    kinds: tuple[str, ...], positions: str, pooling: str, training: bool
) -> None:
    model = model_of(kinds, positions=positions, pooling=pooling).train(training)
    mask = mask_of([3, 12, 1, 7, 7])
    ids = torch.where(mask == 1, torch.randint(2, 50, mask.shape), 1)
    inputs = (ids, mask, torch.randint(0, 2, mask.shape) * mask)
    wanted = logits_and_slopes(model, inputs, ragged=False)
    found = logits_and_slopes(model, inputs, ragged=True)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    states = model.hidden_states(*inputs), model.hidden_states(*inputs, ragged=True)
    for with_padding, without in zip(*states, strict=True):
        real = mask.bool()
        torch.testing.assert_close(without[real], with_padding[real], rtol=1e-9, atol=1e-9)


def test_attention_with_dropout_is_right_on_average() -> None:
    """The way taken while dropout is on, at a rate so small that it clears nearly nothing."""
    model = model_of(("sa_sdp",) * 2, dropout=2e-5).train()
    mask = mask_of([4, 9])
    inputs = (torch.randint(2, 50, mask.shape), mask, torch.zeros_like(mask))
    with torch.no_grad():
        found = torch.stack([model(*inputs, ragged=True) for _ in range(5)]).median(0).values
        wanted = model.eval()(*inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_too_long() -> None:
    model = model_of(("sa_sdp",))
    long = torch.ones(1, LENGTH + 1, dtype=torch.long)
    with pytest.raises(InputError, match="13 tokens do not fit"):
        model(long, long, long, ragged=True)
