"""Saliency against gates that are really closed a little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.transfer import Saliency, measure_saliency
from edgetran_protos.errors import DataError
from torch import Tensor, nn

Inputs = tuple[Tensor, Tensor, Tensor]
Models = Callable[..., TextModel]
MakeInputs = Callable[..., Inputs]

STEP = 1e-4  # of a gate
EVERY_KIND = Layer(hidden=10, heads=HEAD_KINDS, head_size=3, feed_forward=(6, 5))
NARROW = Layer(hidden=8, heads=("sa_sdp", "sa_sdp", "l_dct"), head_size=2, feed_forward=(4,))
MIXED = Architecture((EVERY_KIND, NARROW))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)


def batches_of(inputs: Inputs, labels: Tensor, size: int) -> list[Sequence[Tensor]]:
    parts = (*inputs, labels)
    return [tuple(part[at : at + size] for part in parts) for at in range(0, len(labels), size)]


@torch.no_grad()
def by_closing_gates(
    model: TextModel, inputs: Inputs, labels: Tensor, reader: nn.Linear, channels: int
) -> Tensor:
    """The mean over rows of |loss(1 - STEP) - loss(1 + STEP)| / (2 STEP), a unit at a time.

    A gate on a unit is a factor on the columns that read it.
    """
    found = []
    for at in range(0, reader.in_features, channels):
        whole, losses = reader.weight.clone(), []
        for factor in (1 - STEP, 1 + STEP):
            reader.weight[:, at : at + channels] = whole[:, at : at + channels] * factor
            losses.append(F.cross_entropy(model(*inputs), labels, reduction="none"))
            reader.weight.copy_(whole)
        found.append(((losses[0] - losses[1]) / (2 * STEP)).abs().mean())
    return torch.stack(found)


def unlike(one: Saliency, other: Saliency) -> float:
    """The largest relative difference."""
    pairs = [*zip(one.heads, other.heads, strict=True)]
    for mine, theirs in zip(one.feed_forward, other.feed_forward, strict=True):
        pairs += zip(mine, theirs, strict=True)
    return max(float(((a - b).abs() / b.abs().max()).max()) for a, b in pairs)


@pytest.mark.parametrize("positions", ["relative", "absolute"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_agrees_with_closing_each_gate(
    model_of: Models, inputs: MakeInputs, positions: str, pooling: str
) -> None:
    model, rows = model_of(MIXED, positions, pooling), inputs(6)
    labels = torch.arange(6) % 3
    found = measure_saliency(model, batches_of(rows, labels, 4), cross_entropy)
    for at, (block, layer) in enumerate(zip(model.blocks, MIXED.layers, strict=True)):
        stack = [*[*block.stack][1:], block.stack_out]
        wanted = by_closing_gates(model, rows, labels, block.heads_out, layer.head_size)
        torch.testing.assert_close(found.heads[at], wanted, rtol=1e-5, atol=1e-9)
        assert found.heads[at].min() > 0
        for scores, reader in zip(found.feed_forward[at], stack, strict=True):
            wanted = by_closing_gates(model, rows, labels, reader, 1)
            torch.testing.assert_close(scores, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_batches_do_not_matter(model_of: Models, inputs: MakeInputs, size: int) -> None:
    """Each row counts alike, also where the last batch is shorter."""
    model, rows, labels = model_of(MIXED), inputs(7), torch.arange(7) % 3
    together = measure_saliency(model, batches_of(rows, labels, 100), cross_entropy)
    apart = measure_saliency(model, batches_of(rows, labels, size), cross_entropy)
    assert unlike(apart, together) < 1e-9


def test_what_nothing_reads_has_none(model_of: Models, inputs: MakeInputs) -> None:
    model, rows, labels = model_of(MIXED), inputs(), torch.arange(5) % 3
    block = model.blocks[1]
    with torch.no_grad():
        block.heads_out.weight[:, 2:4] = 0  # head 1 is not read
        block.heads.value.weight[:2] = 0  # head 0 says nothing
        block.heads.value.bias[:2] = 0
        block.stack_out.weight[:, 3] = 0
    found = measure_saliency(model, batches_of(rows, labels, 5), cross_entropy)
    assert (found.heads[1] == 0).tolist() == [True, True, False]
    assert (found.feed_forward[1][0] == 0).tolist() == [False, False, False, True]


@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_model_as_it_was(model_of: Models, inputs: MakeInputs, training: bool) -> None:
    model, rows, labels = model_of(MIXED), inputs(), torch.arange(5) % 3
    before = {name: x.clone() for name, x in model.state_dict().items()}
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    model.train(training)
    measure_saliency(model, batches_of(rows, labels, 2), cross_entropy)
    assert model.training is training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    graded = [name for name, p in model.named_parameters() if p.grad is not None]
    assert graded == ["classifier.weight"]
    assert (model.classifier.weight.grad == 1).all()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_dropout_takes_no_part(model_of: Models, inputs: MakeInputs) -> None:
    model, rows, labels = model_of(MIXED), inputs(), torch.arange(5) % 3
    batches = batches_of(rows, labels, 5)
    quiet = measure_saliency(model, batches, cross_entropy)
    assert unlike(measure_saliency(model.train(), batches, cross_entropy), quiet) < 1e-12


def test_frozen_weights_do_not_hide_it(model_of: Models, inputs: MakeInputs) -> None:
    model, rows, labels = model_of(MIXED), inputs(), torch.arange(5) % 3
    batches = batches_of(rows, labels, 5)
    free = measure_saliency(model, batches, cross_entropy)
    model.requires_grad_(False)
    with torch.no_grad():
        frozen = measure_saliency(model, batches, cross_entropy)
    assert unlike(frozen, free) < 1e-12


def test_no_rows(model_of: Models) -> None:
    with pytest.raises(DataError, match="at least one row") as caught:
        measure_saliency(model_of(MIXED), [], cross_entropy)
    assert caught.value.hint


def test_an_interrupted_measurement_leaves_no_hooks(model_of: Models, inputs: MakeInputs) -> None:
    model = model_of(MIXED).train()

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_saliency(model, batches_of(inputs(), torch.zeros(5).long(), 5), loss)
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
