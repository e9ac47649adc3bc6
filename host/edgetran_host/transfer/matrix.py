"""Takes a parent's matrix or LayerNorm over, unit by unit."""

from __future__ import annotations

from torch import Tensor, nn

from edgetran_host.transfer.axis import Axis


def copy_matrix(weight: Tensor, bias: Tensor, target: nn.Linear, rows: Axis, columns: Axis) -> None:
    """weight (out, in), bias (out,): outputs are written, inputs read."""
    target.weight.copy_(rows.write(columns.read(weight, 1), 0, target.weight))
    target.bias.copy_(rows.write(bias, 0, target.bias))


def copy_norm(source: nn.LayerNorm, target: nn.LayerNorm, hidden: Axis) -> None:
    target.weight.copy_(hidden.scale(source.weight, target.weight))
    target.bias.copy_(hidden.write(source.bias, 0, target.bias))
