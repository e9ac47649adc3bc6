"""Gives the feed-forward stack of a layer the parent's matrices and neurons.

New neurons are not read. A new matrix copies the units that enter it, lifted to where
GELU is linear: for u >= -0.17, as GELU leaves it, GELU(u + 6) = u + 6 to 1e-8, and
the next matrix takes the 6 away again; in front of the stack the lift covers all that
LayerNorm can give. So a deeper stack computes what it did before, to float tolerance,
if its new matrix is at least as wide as what enters it; units it leaves out are lost.
A dropped matrix has no exact counterpart: it is replaced by its best linear fit for
normal inputs, GELU(a) ~ a / 2 + 1 / (2 sqrt(pi)), and taken into the matrix after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgetran_host.models.text_model import Block
from edgetran_host.transfer.axis import Axis, Picked, Units
from edgetran_host.transfer.matrix import copy_matrix

LIFT = 6.0
GELU_SLOPE = 0.5  # E[GELU'(a)], a standard normal
GELU_MEAN = 1 / (2 * math.sqrt(math.pi))  # E[GELU(a)]


@dataclass(frozen=True)
class _Entering:
    """What enters the child's next matrix."""

    axis: Axis  # its units are those that leave the parent's matrix `after`
    after: int  # -1: what enters the stack
    lift: Tensor  # (units,): how far above the parent's the child's units are


def copy_stack(
    source: Block, target: Block, stacks: Units, neurons: Sequence[Units], hidden: Axis
) -> None:
    """The stack and what reads it; the child's `heads_norm` must be there already."""
    at = _Entering(hidden, -1, torch.zeros_like(target.heads_norm.bias))
    for index, (stack, units) in enumerate(zip(stacks, neurons)):
        linear = target.stack[index]
        assert isinstance(linear, nn.Linear)
        if stack is None:
            lift = LIFT if index else _front_lift(target.heads_norm)
            at = _copy_units(linear, units, at, lift)
        else:
            weight, bias = _reading(source, at.after, stack)
            _copy_reading(weight, bias, linear, Picked(units), at)
            at = _Entering(Picked(units), stack, torch.zeros_like(linear.bias))
    weight, bias = _reading(source, at.after, len(source.stack))
    _copy_reading(weight, bias, target.stack_out, hidden, at)


def _front_lift(norm: nn.LayerNorm) -> Tensor:
    """A normalised channel is never beyond sqrt(h): enough for the lowest output there is."""
    h = len(norm.weight)
    return LIFT + norm.weight.abs() * math.sqrt(h) - norm.bias


def _copy_units(linear: nn.Linear, units: Units, at: _Entering, lift: float | Tensor) -> _Entering:
    """A new matrix; new units stay as they were drawn."""
    lifts = lift + torch.zeros_like(at.lift)
    found = torch.zeros_like(linear.bias)
    for row, unit in enumerate(units):
        if unit is None:
            continue
        linear.weight[row] = 0.0
        linear.weight[row, unit] = 1.0
        linear.bias[row] = lifts[unit] - at.lift[unit]
        found[row] = lifts[unit]
    return _Entering(at.axis.through(units), at.after, found)


def _copy_reading(
    weight: Tensor, bias: Tensor, target: nn.Linear, rows: Axis, at: _Entering
) -> None:
    copy_matrix(weight, bias, target, rows, at.axis)
    target.bias.sub_(target.weight @ at.lift)


def _reading(source: Block, after: int, index: int) -> tuple[Tensor, Tensor]:
    """The parent's matrix `index` (the one after the last is `stack_out`), reading `after`."""
    linears = [*source.stack, source.stack_out]
    weight, bias = linears[index].get_parameter("weight"), linears[index].get_parameter("bias")
    for dropped in range(index - 1, after, -1):
        bias = bias + weight @ (GELU_SLOPE * linears[dropped].get_parameter("bias") + GELU_MEAN)
        weight = GELU_SLOPE * weight @ linears[dropped].get_parameter("weight")
    return weight, bias
