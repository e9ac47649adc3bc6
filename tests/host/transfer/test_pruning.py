"""What is pruned is gone, what stays computes as the plan of a shrink would have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer import Edit, Saliency, ShrinkPlan, plan_shrink, shrink, transfer
from edgetran_host.transfer.pruning import drop_heads, drop_layer, drop_neurons, narrow
from edgetran_protos.errors import ArchitectureError
from torch import Tensor

PARENT = Architecture(
    (
        Layer(12, ("sa_sdp", "sa_sdp", "c_5"), 3, (6, 5)),
        Layer(12, ("sa_wma", "l_dct"), 4, (7,)),
        Layer(12, ("sa_sdp", "sa_sdp"), 6, (8,)),
    )
)


def pruned(model: TextModel, edit: Edit) -> TextModel:
    config = dataclasses.replace(model.config, architecture=edit.architecture)
    return transfer(model, edit.weights, config)


def shrunk(model: TextModel, plan: ShrinkPlan, child: Architecture) -> TextModel:
    return shrink(model, plan, dataclasses.replace(model.config, architecture=child))


def assert_same_weights(one: TextModel, other: TextModel) -> None:
    assert one.config == other.config
    for (name, mine), theirs in zip(one.state_dict().items(), other.state_dict().values()):
        torch.testing.assert_close(mine, theirs, msg=name)


def even_saliency(architecture: Architecture) -> Saliency:
    return Saliency(
        [torch.ones(len(layer.heads)) for layer in architecture.layers],
        [[torch.ones(width) for width in layer.feed_forward] for layer in architecture.layers],
        [torch.arange(float(layer.hidden)) for layer in architecture.layers],
    )


def test_dropped_heads_and_neurons_are_those_of_a_shrink(
    model_of: Callable[..., TextModel],
) -> None:
    model = model_of(PARENT)
    edit = drop_heads(PARENT, {0: [0], 2: [1]})
    again = drop_neurons(edit.architecture, {(0, 1): [0, 3], (2, 0): [7]})
    plan = ShrinkPlan(
        layers=(0, 1, 2),
        heads=((1, 2), (0, 1), (0,)),
        feed_forward=(
            (tuple(range(6)), (1, 2, 4)),
            (tuple(range(7)),),
            (tuple(range(7)),),
        ),
    )
    found = pruned(pruned(model, edit), again)
    assert_same_weights(found, shrunk(model, plan, again.architecture))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_dropped_layer_is_that_of_a_shrink(model_of: Callable[..., TextModel], at: int) -> None:
    model, edit = model_of(PARENT), drop_layer(PARENT, at)
    kept = [layer for layer in range(3) if layer != at]
    plan = plan_shrink(model.config, edit.architecture, kept, even_saliency(PARENT))
    assert_same_weights(pruned(model, edit), shrunk(model, plan, edit.architecture))


def test_a_narrow_model_keeps_its_most_salient_channels(
    model_of: Callable[..., TextModel],
) -> None:
    model, edit = model_of(PARENT), narrow(PARENT, 8, even_saliency(PARENT))
    assert {layer.hidden for layer in edit.architecture.layers} == {8}
    words: Tensor = pruned(model, edit).embedding.word.weight
    torch.testing.assert_close(words, model.embedding.word.weight[:, 4:])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda: drop_heads(PARENT, {1: [0, 1]}), "layer 1 has 2 heads"),
        (lambda: drop_heads(PARENT, {5: [0]}), "no layer 5"),
        (lambda: drop_neurons(PARENT, {(1, 0): [7]}), "layer 1 has 7 neurons"),
        (lambda: drop_layer(PARENT, 3), "no layer 3"),
        (lambda: drop_layer(Architecture(PARENT.layers[:1]), 0), "only layer"),
        (lambda: narrow(PARENT, 12, even_saliency(PARENT)), "not below"),
    ],
)
def test_what_cannot_go_is_said(edit: Callable[[], Edit], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says) as caught:
        edit()
    assert caught.value.hint
