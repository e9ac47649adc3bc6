"""Builds the smaller model of a plan by copying exactly the kept rows and columns.

A dropped layer leaves its Lin_proj behind: consecutive projections between two kept
layers are one linear map, and become the child's projection there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from edgetran_protos.errors import ArchitectureError
from torch import Tensor, nn

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.heads import ConvolutionHeads, Heads, WeightedHeads, uses_key, uses_query
from edgetran_host.models.text_model import Block, TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer.plan import ShrinkPlan

FREE = ("dropout", "sequence_length")  # a child may set these; they shape no weight


@torch.no_grad()
def shrink(parent: TextModel, plan: ShrinkPlan, child: ModelConfig) -> TextModel:
    """A model of configuration `child` with the parent's weights; the parent stays as it is.

    Raises ArchitectureError where plan and configuration disagree.
    """
    _check(parent.config, plan, child)
    _check_ends(parent, plan)
    model = TextModel(child)
    _copy_embedding(parent, plan, model)
    for index, source in enumerate(plan.layers):
        _copy_block(
            parent.blocks[source],
            parent.config.architecture.layers[source],
            plan.heads[index],
            plan.feed_forward[index],
            parent.config.positions,
            model.blocks[index],
        )
    _copy_projections(parent, plan, model)
    if parent.pooler is not None and model.pooler is not None:
        _copy(parent.pooler, model.pooler)
    _copy(parent.classifier, model.classifier)
    return model.eval()


def _check(parent: ModelConfig, plan: ShrinkPlan, child: ModelConfig) -> None:
    whole = plan.tokens is None
    planned = dataclasses.replace(
        parent,
        architecture=_planned(parent, plan),
        vocab_size=parent.vocab_size if whole else len(plan.tokens or ()),
        pad_id=parent.pad_id if whole else (plan.tokens or ()).index(parent.pad_id),
        **{name: getattr(child, name) for name in FREE},
    )
    for field in dataclasses.fields(ModelConfig):
        wanted, found = getattr(planned, field.name), getattr(child, field.name)
        if wanted != found:
            raise ArchitectureError(
                f"the child's {field.name} is not what the plan makes: {found}, not {wanted}",
                hint="make the plan for the child's own architecture and vocabulary",
            )


def _check_ends(parent: TextModel, plan: ShrinkPlan) -> None:
    """Embedding and classifier fit the first and the last layer only."""
    if _project(parent, range(plan.layers[0])) is not None:
        raise _lost_width("before", plan.layers[0])
    if _project(parent, range(plan.layers[-1], len(parent.layers))) is not None:
        raise _lost_width("after", plan.layers[-1])


def _planned(parent: ModelConfig, plan: ShrinkPlan) -> Architecture:
    sources = [parent.architecture.layers[source] for source in plan.layers]
    return Architecture(
        tuple(
            Layer(
                hidden=whole.hidden,
                heads=tuple(whole.heads[head] for head in heads),
                head_size=whole.head_size,
                feed_forward=tuple(len(kept) for kept in stack),
            )
            for whole, heads, stack in zip(sources, plan.heads, plan.feed_forward)
        )
    )


def _copy_embedding(parent: TextModel, plan: ShrinkPlan, model: TextModel) -> None:
    source, target = parent.embedding, model.embedding
    words = source.word.weight
    if plan.tokens is not None:
        words = words[list(plan.tokens)]
    target.word.weight.copy_(words)
    target.token_type.weight.copy_(source.token_type.weight)
    if source.position is not None and target.position is not None:
        target.position.weight.copy_(source.position.weight)
    _copy(source.norm, target.norm)


def _copy_block(
    source: Block,
    whole: Layer,
    heads: Sequence[int],
    stack: Sequence[Sequence[int]],
    positions: str,
    target: Block,
) -> None:
    _copy_heads(source.heads, whole, heads, positions, target.heads)
    _copy(source.heads_out, target.heads_out, columns=_channels(heads, whole.head_size))
    _copy(source.heads_norm, target.heads_norm)
    entering: Sequence[int] | None = None
    for linear, kept, smaller in zip(source.stack, stack, target.stack):
        _copy(linear, smaller, rows=kept, columns=entering)
        entering = kept
    _copy(source.stack_out, target.stack_out, columns=entering)
    _copy(source.stack_norm, target.stack_norm)


def _copy_heads(
    source: Heads, whole: Layer, kept: Sequence[int], positions: str, target: Heads
) -> None:
    """Query and key rows exist only for the heads that read them; see `Heads`."""
    size = whole.head_size
    readers = (
        (source.query, target.query, [uses_query(kind, positions) for kind in whole.heads]),
        (source.key, target.key, [uses_key(kind) for kind in whole.heads]),
        (source.value, target.value, [True] * len(whole.heads)),
    )
    for old, new, reads in readers:
        if old is not None and new is not None:
            rows = [sum(reads[:head]) for head in kept if reads[head]]
            _copy(old, new, rows=_channels(rows, size))
    if source.relative is not None and target.relative is not None:
        target.relative.copy_(source.relative)
    for kind, group in target.groups.items():
        first = whole.heads.index(kind)
        within = [head - first for head in kept if whole.heads[head] == kind]
        _copy_group(source.groups[kind], group, within, size)


def _copy_group(source: nn.Module, target: nn.Module, kept: list[int], size: int) -> None:
    """A kind's own parameters, stacked by head along their first axis."""
    if isinstance(source, (WeightedHeads, ConvolutionHeads)):
        for (name, old), new in zip(source.named_parameters(), target.parameters()):
            new.copy_(old[_channels(kept, size) if name == "depthwise" else kept])


def _copy_projections(parent: TextModel, plan: ShrinkPlan, model: TextModel) -> None:
    """Every change of width lies between two layers, so the child needs its own there."""
    for index, (here, following) in enumerate(zip(plan.layers, plan.layers[1:])):
        found = _project(parent, range(here, following))
        slot = model.blocks[index].project
        if found is None:
            continue
        if slot is None:
            raise _lost_width("after", here)
        slot.weight.copy_(found[0])
        slot.bias.copy_(found[1])


def _project(parent: TextModel, layers: range) -> tuple[Tensor, Tensor] | None:
    """The projections after these layers as one map x·W^T + b; None when there are none."""
    found: tuple[Tensor, Tensor] | None = None
    for index in layers:
        linear = parent.blocks[index].project
        if linear is None:
            continue
        if found is None:
            found = linear.weight, linear.bias
        else:
            weight, bias = found
            found = linear.weight @ weight, linear.weight @ bias + linear.bias
    return found


def _lost_width(where: str, layer: int) -> ArchitectureError:
    return ArchitectureError(
        f"the layers dropped {where} layer {layer} change the width, which would be lost",
        hint="keep the layers on both sides of a change of width",
    )


def _channels(units: Sequence[int], size: int) -> list[int]:
    """The channels of units of `size` neighbouring channels each."""
    return [unit * size + channel for unit in units for channel in range(size)]


def _copy(
    source: nn.Module,
    target: nn.Module,
    rows: Sequence[int] | None = None,
    columns: Sequence[int] | None = None,
) -> None:
    """Weight and bias; `rows` are outputs, `columns` inputs, None keeps them all."""
    weight: Tensor = source.get_parameter("weight")
    bias: Tensor = source.get_parameter("bias")
    if rows is not None:
        weight, bias = weight[list(rows)], bias[list(rows)]
    if columns is not None:
        weight = weight[:, list(columns)]
    target.get_parameter("weight").copy_(weight)
    target.get_parameter("bias").copy_(bias)
