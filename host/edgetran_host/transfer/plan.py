"""Decides which parts of a model a smaller one keeps, before any weight is touched.

Layers are named by the caller; heads and neurons are the most salient of their layer
and kind, and stay in the parent's order, so nothing depends on their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from edgetran_protos.errors import ArchitectureError
from torch import Tensor

from edgetran_host.models.config import ModelConfig
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_host.transfer.saliency import Saliency
from edgetran_host.transfer.weight_map import WeightMap

LAYERS_HINT = "name one of the parent's layers for each of the child's, in the parent's order"
TOKENS_HINT = "name each token once, by the parent's id, the padding token among them"
WIDTHS_HINT = "shrinking keeps hidden and head sizes; fewer layers, heads and neurons are possible"


@dataclass(frozen=True)
class ShrinkPlan:
    """Parent's indices, ascending, by the child's layers; `tokens` in the child's order."""

    layers: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    feed_forward: tuple[tuple[tuple[int, ...], ...], ...]
    tokens: tuple[int, ...] | None = None  # None: the whole vocabulary

    def weight_map(self) -> WeightMap:
        """The same as a map, in which nothing is new and no width changes."""
        return WeightMap(
            layers=self.layers,
            heads=self.heads,
            stacks=tuple(tuple(range(len(stack))) for stack in self.feed_forward),
            neurons=self.feed_forward,
            channels=(None,) * len(self.layers),
            hidden=(None,) * len(self.layers),
            tokens=self.tokens,
        )


def plan_shrink(
    parent: ModelConfig,
    child: Architecture,
    keep_layers: Sequence[int],
    saliency: Saliency,
    tokens: Sequence[int] | None = None,
) -> ShrinkPlan:
    """Raises ArchitectureError where `child` is not a part of `parent`."""
    layers = tuple(keep_layers)
    check_saliency(parent.architecture, saliency)
    _check_layers(layers, len(child.layers), len(parent.architecture.layers))
    heads, stacks = [], []
    for index, (source, shape) in enumerate(zip(layers, child.layers)):
        whole = parent.architecture.layers[source]
        _check_widths(index, source, whole, shape)
        heads.append(_keep_heads(index, source, whole, shape, saliency.heads[source]))
        stacks.append(
            tuple(
                most_salient(scores, range(len(scores)), width)
                for width, scores in zip(shape.feed_forward, saliency.feed_forward[source])
            )
        )
    kept_tokens = None if tokens is None else _check_tokens(tuple(tokens), parent)
    return ShrinkPlan(layers, tuple(heads), tuple(stacks), kept_tokens)


def check_saliency(parent: Architecture, saliency: Saliency) -> None:
    wanted = [(len(layer.heads), *layer.feed_forward) for layer in parent.layers]
    stacks = zip(saliency.heads, saliency.feed_forward)
    if [(len(heads), *map(len, stack)) for heads, stack in stacks] != wanted:
        raise ArchitectureError(
            "the saliency is not that of the model to shrink", hint="measure it on this model"
        )


def _check_layers(layers: tuple[int, ...], wanted: int, available: int) -> None:
    if len(layers) != wanted or not layers:
        raise ArchitectureError(
            f"{len(layers)} layers are kept, the child has {wanted}", hint=LAYERS_HINT
        )
    if list(layers) != sorted(set(layers)) or not all(0 <= i < available for i in layers):
        raise ArchitectureError(
            f"layers to keep must ascend within 0 to {available - 1}, got {list(layers)}",
            hint=LAYERS_HINT,
        )


def _check_widths(index: int, source: int, whole: Layer, shape: Layer) -> None:
    def wrong(rule: str) -> ArchitectureError:
        return ArchitectureError(f"layer {index} from layer {source}: {rule}", hint=WIDTHS_HINT)

    if shape.hidden != whole.hidden:
        raise wrong(f"hidden size {shape.hidden} differs from {whole.hidden}")
    if shape.head_size != whole.head_size:
        raise wrong(f"head size {shape.head_size} differs from {whole.head_size}")
    if not shape.heads or min(shape.feed_forward, default=1) < 1:
        raise wrong("at least one head and one neuron must stay")
    if len(shape.feed_forward) != len(whole.feed_forward):
        raise wrong(f"{len(shape.feed_forward)} stacked widths, not {len(whole.feed_forward)}")
    if any(a > b for a, b in zip(shape.feed_forward, whole.feed_forward)):
        raise wrong(f"widths {shape.feed_forward} exceed {whole.feed_forward}")


def _keep_heads(
    index: int, source: int, whole: Layer, shape: Layer, scores: Tensor
) -> tuple[int, ...]:
    kept: list[int] = []
    for kind in HEAD_KINDS:
        among = [i for i, found in enumerate(whole.heads) if found == kind]
        wanted = shape.heads.count(kind)
        if wanted > len(among):
            raise ArchitectureError(
                f"layer {index} from layer {source}: {wanted} {kind} heads, only {len(among)}",
                hint=WIDTHS_HINT,
            )
        kept += most_salient(scores, among, wanted)
    return tuple(kept)


def most_salient(scores: Tensor, among: Sequence[int], count: int) -> tuple[int, ...]:
    """The `count` highest of `among`, in their own order; the first win ties."""
    order = torch.argsort(scores[list(among)], descending=True, stable=True)[:count]
    return tuple(sorted(among[i] for i in order.tolist()))


def _check_tokens(tokens: tuple[int, ...], parent: ModelConfig) -> tuple[int, ...]:
    if len(set(tokens)) != len(tokens):
        raise ArchitectureError("a token is kept twice", hint=TOKENS_HINT)
    if not tokens or not all(0 <= token < parent.vocab_size for token in tokens):
        raise ArchitectureError(
            f"tokens to keep must be ids below {parent.vocab_size}", hint=TOKENS_HINT
        )
    if parent.pad_id not in tokens:
        raise ArchitectureError(f"the padding token {parent.pad_id} must be kept", hint=TOKENS_HINT)
    return tokens
