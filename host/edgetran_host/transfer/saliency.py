"""How much the loss depends on each head, feed-forward neuron and hidden channel.

Put a gate g = 1 on a unit's output y. To first order, closing the gate changes the
loss of one row by -dloss/dg = -sum over positions and channels of y * dloss/dy. A
unit's saliency is the mean over rows of that change's size. A unit that is zero, or
that nothing reads, gets exactly 0.
Source: Michel et al. 2019 (heads), Molchanov et al. 2017 (neurons).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from edgetran_protos.errors import DataError
from torch import Tensor, nn

from edgetran_host.models.text_model import TextModel
from edgetran_host.training.training_state import write_whole

Loss = Callable[[Tensor, Tensor], Tensor]  # logits, labels -> the batch's mean loss


@dataclass(frozen=True)
class Saliency:
    """At least 0, float64; comparable between the heads, and the neurons, of one model."""

    heads: list[Tensor]  # a layer: (heads,) in canonical order
    feed_forward: list[list[Tensor]]  # a layer, a stacked width: (width,)
    hidden: list[Tensor] = field(default_factory=list)  # a layer: (h,) as it enters; [] unknown


@dataclass(frozen=True)
class _Site:
    """A module that reads units of `channels` neighbouring channels each."""

    reader: nn.Module
    channels: int


def measure_saliency(
    model: TextModel, batches: Iterable[Sequence[Tensor]], loss_fn: Loss
) -> Saliency:
    """Batches of (input_ids, attention_mask, token_type_ids, labels).

    `loss_fn` must average over rows. Weights, their gradients and the model's mode
    are left as they were.
    """
    sites = _sites(model)
    flat = [site for layer in sites for site in layer]
    sums = [torch.zeros(()) for _ in flat]
    rows = 0
    was_training = model.training
    model.eval()
    try:
        with _inputs_of([site.reader for site in flat]) as entered:
            for *inputs, labels in batches:
                entered.clear()
                with torch.enable_grad():
                    loss = loss_fn(model(*inputs), labels)
                    gradients = torch.autograd.grad(loss, entered)
                for at, site in enumerate(flat):
                    sums[at] = sums[at] + _effect(entered[at], gradients[at], site.channels)
                rows += len(labels)
    finally:
        model.train(was_training)
    if not rows:
        raise DataError("saliency needs at least one row", hint="give some training rows")
    found = iter([total / rows for total in sums])
    by_layer = [[next(found) for _ in layer] for layer in sites]
    return Saliency(
        [heads for _, heads, *_ in by_layer],
        [stack for _, _, *stack in by_layer],
        [hidden for hidden, *_ in by_layer],
    )


def _sites(model: TextModel) -> list[list[_Site]]:
    """A layer: itself, what reads its heads, then what reads each width of its stack."""
    return [
        [
            _Site(block, 1),
            _Site(block.heads_out, shape.head_size),
            *(_Site(linear, 1) for linear in [*[*block.stack][1:], block.stack_out]),
        ]
        for block, shape in zip(model.blocks, model.config.architecture.layers)
    ]


@contextmanager
def _inputs_of(readers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what enters the modules, in the order they run, open to gradients."""
    entered: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, *rest = inputs
        if not x.requires_grad:  # all weights below are frozen
            x = x.detach().requires_grad_()
        entered.append(x)
        return (x, *rest)

    handles = [reader.register_forward_pre_hook(keep) for reader in readers]
    try:
        yield entered
    finally:
        for handle in handles:
            handle.remove()


def _effect(y: Tensor, gradient: Tensor, channels: int) -> Tensor:
    """y and dloss/dy (b, s, units * channels) -> (units,), summed over the rows.

    The loss is a mean over rows: times b gives each row's own gradient.
    """
    b = y.shape[0]
    change = (y.detach() * gradient).double().sum(dim=1) * b
    return change.reshape(b, -1, channels).sum(dim=2).abs().sum(dim=0)


def keep_saliency(saliency: Saliency, path: Path) -> None:
    """As safetensors, whole or not at all."""
    tensors = {}
    for at, heads in enumerate(saliency.heads):
        tensors[f"{at}/heads"] = heads
        tensors |= {f"{at}/stack/{i}": x for i, x in enumerate(saliency.feed_forward[at])}
    tensors |= {f"{at}/hidden": x for at, x in enumerate(saliency.hidden)}
    write_whole(path, safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()}))


def read_saliency(path: Path) -> Saliency:
    tensors = safetensors.torch.load(path.read_bytes())
    layers = sum(name.endswith("/heads") for name in tensors)
    stacks = [sum(name.startswith(f"{at}/stack/") for name in tensors) for at in range(layers)]
    return Saliency(
        [tensors[f"{at}/heads"] for at in range(layers)],
        [[tensors[f"{at}/stack/{i}"] for i in range(stacks[at])] for at in range(layers)],
        [tensors[f"{at}/hidden"] for at in range(layers) if f"{at}/hidden" in tensors],
    )
