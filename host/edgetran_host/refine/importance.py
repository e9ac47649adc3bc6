"""By what a refinement tells parts that may go from those that must stay.

`saliency` is what edgetran uses; the others are what it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgetran_host.models.text_model import TextModel
from edgetran_host.transfer.saliency import Saliency

Importance = Callable[[TextModel, Callable[[], Saliency], int], Saliency]
"""Of a model; the second measures its saliency, the third seeds what is drawn."""


def _saliency(model: TextModel, measure: Callable[[], Saliency], seed: int) -> Saliency:
    """First-order effect on the loss of held-out rows."""
    return measure()


def _position(model: TextModel, measure: Callable[[], Saliency], seed: int) -> Saliency:
    """The last parts go first."""
    return _each(model, lambda count: torch.arange(count, 0, -1, dtype=torch.float64))


def _random(model: TextModel, measure: Callable[[], Saliency], seed: int) -> Saliency:
    rng = torch.Generator().manual_seed(seed)
    return _each(model, lambda count: torch.rand(count, generator=rng, dtype=torch.float64))


def _magnitude(model: TextModel, measure: Callable[[], Saliency], seed: int) -> Saliency:
    """Mean square of the weights that read a part."""
    heads, stacks, hidden = [], [], []
    for block, layer in zip(model.blocks, model.config.architecture.layers):
        heads.append(_mean_square(block.heads_out.weight, len(layer.heads)))
        readers = [linear.weight for linear in [*[*block.stack][1:], block.stack_out]]
        stacks.append([_mean_square(weight, weight.shape[1]) for weight in readers])
        first: Tensor = next(block.stack.parameters())
        hidden.append(_mean_square(first, first.shape[1]))
    return Saliency(heads, stacks, hidden)


IMPORTANCES: dict[str, Importance] = {
    "saliency": _saliency,
    "position": _position,
    "magnitude": _magnitude,
    "random": _random,
}


def _mean_square(weight: Tensor, parts: int) -> Tensor:
    """weight (out, in) -> (parts,) of the inputs in equal neighbouring groups."""
    return (weight.detach().double() ** 2).mean(dim=0).reshape(parts, -1).mean(dim=1)


def _each(model: TextModel, scores: Callable[[int], Tensor]) -> Saliency:
    layers = model.config.architecture.layers
    return Saliency(
        [scores(len(layer.heads)) for layer in layers],
        [[scores(width) for width in layer.feed_forward] for layer in layers],
        [scores(layer.hidden) for layer in layers],
    )
