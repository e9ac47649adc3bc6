"""Builds the smaller model of a plan by copying exactly the kept rows and columns.

A dropped layer leaves its Lin_proj behind: consecutive projections between two kept
layers are one linear map, and become the child's projection there.
"""

from __future__ import annotations

import dataclasses

from edgetran_protos.errors import ArchitectureError

from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.transfer.fitting import FREE, LOST_HINT, changes_width, lost_widths
from edgetran_host.transfer.plan import ShrinkPlan
from edgetran_host.transfer.transfer import transfer


def shrink(parent: TextModel, plan: ShrinkPlan, child: ModelConfig) -> TextModel:
    """A model of configuration `child` with the parent's weights; the parent stays as it is.

    Raises ArchitectureError where plan and configuration disagree.
    """
    _check(parent.config, plan, child)
    _check_widths(parent.config.architecture, plan, child.architecture)
    return transfer(parent, plan.weight_map(), child)


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


def _check_widths(parent: Architecture, plan: ShrinkPlan, child: Architecture) -> None:
    """Embedding and classifier fit the first and the last layer only."""
    if changes_width(parent, 0, plan.layers[0]):
        raise _lost_width("before", plan.layers[0])
    if changes_width(parent, plan.layers[-1], len(parent.layers) - 1):
        raise _lost_width("after", plan.layers[-1])
    for layer in lost_widths(parent, plan.weight_map(), child):
        raise _lost_width("after", layer)


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


def _lost_width(where: str, layer: int) -> ArchitectureError:
    return ArchitectureError(
        f"the layers dropped {where} layer {layer} change the width, which would be lost",
        hint=LOST_HINT,
    )
