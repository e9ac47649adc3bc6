"""The changes of width between two layers of a model, as one linear map."""

from __future__ import annotations

from torch import Tensor

from edgetran_host.models.text_model import TextModel


def composed(model: TextModel, layers: range) -> tuple[Tensor, Tensor] | None:
    """The projections after these layers as one map x·W^T + b; None when there are none."""
    found: tuple[Tensor, Tensor] | None = None
    for index in layers:
        linear = model.blocks[index].project
        if linear is None:
            continue
        if found is None:
            found = linear.weight, linear.bias
        else:
            weight, bias = found
            found = linear.weight @ weight, linear.weight @ bias + linear.bias
    return found
